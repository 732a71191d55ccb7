"""The newest item of each sender wins, and no sender is starved."""

import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.ros.latest import Latest


def test_only_the_newest_is_taken_and_the_others_are_counted():
    mailbox = Latest()
    for item in (1, 2, 3):
        mailbox.put(item)
    assert mailbox.waiting() == 3
    assert mailbox.take() == ("", 3)
    assert mailbox.waiting() is None
    assert mailbox.replaced[""] == 2
    mailbox.put(4)
    assert mailbox.take() == ("", 4)
    assert mailbox.replaced[""] == 2


def test_a_fast_sender_does_not_starve_a_slow_one():
    mailbox = Latest()
    taken = []
    for frame in range(60):
        mailbox.put(frame, "fast")
        if frame % 10 == 0:
            mailbox.put(frame, "slow")
        taken.append(mailbox.take())
    assert [frame for sender, frame in taken if sender == "slow"] == [0, 10, 20, 30, 40, 50]
    assert mailbox.replaced["slow"] == 0


@given(st.lists(st.sampled_from("abcd"), min_size=1, max_size=60))
def test_whoever_waits_is_next_within_a_round(senders):
    mailbox, since = Latest(), {}
    for turn, sender in enumerate(senders):
        mailbox.put(turn, sender)
        since.setdefault(sender, turn)
        if turn % 2:
            who, _ = mailbox.take()
            del since[who]
        # Every second turn serves one of four senders, so each waits for at most four services.
        assert all(turn - start <= 2 * 4 for start in since.values())


@pytest.mark.parametrize("item", ["frame", 0, None])
def test_taking_waits_for_an_item(item):
    mailbox, taken = Latest(), []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.put(item, "camera")
    thread.join(timeout=10)
    assert taken == [("camera", item)]


def test_a_sender_that_rests_keeps_its_newest_item_and_the_others_are_served():
    mailbox = Latest()
    mailbox.rest(0.2, "still")
    for item in (1, 2):
        mailbox.put(item, "still")
    mailbox.put(3, "moving")
    assert mailbox.take() == ("moving", 3)
    assert mailbox.take(0.01) is None
    assert mailbox.waiting("still") == 2
    # After the rest, without another item.
    assert mailbox.take() == ("still", 2)


def test_a_rest_may_be_ended_while_somebody_waits():
    mailbox, taken = Latest(), []
    mailbox.rest(600.0)
    mailbox.put(1)
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.rest(0.0)
    thread.join(timeout=10)
    assert taken == [("", 1)]


def test_taking_gives_up_in_time():
    assert Latest().take(0.01) is None


def test_closing_wakes_whoever_waits():
    mailbox, taken = Latest(), []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(timeout=10)
    assert taken == [None]
    assert mailbox.closed
    mailbox.put(1)
    assert mailbox.take() is None
