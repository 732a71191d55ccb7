"""The newest item wins."""

import threading

from deep_perception.latest import Latest


def test_only_the_newest_is_taken_and_the_others_are_counted():
    mailbox = Latest()
    for item in (1, 2, 3):
        mailbox.put(item)
    assert mailbox.take() == 3
    assert mailbox.replaced == 2
    mailbox.put(4)
    assert mailbox.take() == 4
    assert mailbox.replaced == 2


def test_taking_waits_for_an_item():
    mailbox, taken = Latest(), []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.put("frame")
    thread.join(timeout=10)
    assert taken == ["frame"]


def test_closing_wakes_whoever_waits():
    mailbox, taken = Latest(), []
    thread = threading.Thread(target=lambda: taken.append(mailbox.take()))
    thread.start()
    mailbox.close()
    thread.join(timeout=10)
    assert taken == [None]
    mailbox.put(1)
    assert mailbox.take() is None
