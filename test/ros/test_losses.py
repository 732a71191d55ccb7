"""Which cameras lose frames, by the numbers of the frames and by the gaps between their stamps."""

import itertools
import random
import warnings

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.ros.losses import Losses, missing_between

pytestmark = pytest.mark.ros

PERIOD_S = 1 / 30


def judged(stamps_s, sequences=None, waited_s=0.0):
    losses = Losses()
    for number, stamp_s in enumerate(stamps_s):
        losses.add(
            sequence=None if sequences is None else sequences[number],
            stamp_ns=round(stamp_s * 1e9),
            arrival_s=stamp_s,
            waited_s=waited_s,
        )
    return losses.loss(stamps_s[-1]), losses


def grid(steps):
    times_s, now = [], 100.0
    for step in steps:
        now += step * PERIOD_S
        times_s.append(now)
    return times_s


def arriving(share, count=400, seed=3):
    """The numbers of the frames that arrive, each with the same probability."""
    source = random.Random(seed)
    return [number for number in range(count) if source.random() < share]


@pytest.mark.parametrize("share", [0.38, 0.18, 0.6])
def test_numbers_that_are_missing_are_counted(share):
    numbers = arriving(share)
    # The stamps of this camera are of no help.
    stamps_s = [100 + number * PERIOD_S + random.Random(number).random() for number in numbers]
    loss, losses = judged(sorted(stamps_s), numbers)
    assert loss.is_counted
    assert loss.sent_hz == pytest.approx(30, rel=0.25)
    assert loss.arriving_hz / loss.sent_hz == pytest.approx(share, rel=0.3)
    assert losses.lost == numbers[-1] - numbers[0] + 1 - len(numbers)


@pytest.mark.parametrize("share", [0.38, 0.25, 0.5])
@pytest.mark.parametrize("are_counted", [False, True])
def test_gaps_between_stamps_are_a_loss(share, are_counted):
    numbers = arriving(share)
    stamps_s = [100 + number * PERIOD_S + number * 37 % 5 * 0.0005 for number in numbers]
    # The publisher has sent all that arrives: what is missing was lost before.
    loss, losses = judged(stamps_s, list(range(len(numbers))) if are_counted else None)
    assert not loss.is_counted
    assert loss.sent_hz == pytest.approx(30, rel=0.05)
    assert losses.lost == 0


def uneven(low_s, high_s):
    source, now, times_s = random.Random(5), 100.0, []
    for _ in range(200):
        now += source.uniform(low_s, high_s)
        times_s.append(now)
    return times_s


@pytest.mark.parametrize(
    "stamps_s",
    [
        grid([1] * 200),
        grid([3] * 200),
        grid([1] * 100 + [4] * 100),  # slower in the dark
        grid([1, 2] * 100),  # 20 Hz from a sensor of 30 Hz
        grid([2, 3] * 100),  # 24 Hz from a sensor of 60 Hz
        grid([1, 1, 1, 4] * 50),
        grid([1, 2, 3, 4] * 50),
        grid([1] * 60 + [30] + [1] * 60),  # one pause
        uneven(0.03, 0.2),
        uneven(0.5, 5.0),
        uneven(0.8 * PERIOD_S, 1.2 * PERIOD_S),
        [100.0 + number for number in range(30)],
        [100.0] * 200,
    ],
)
def test_a_camera_that_is_slow_or_uneven_loses_nothing(stamps_s):
    assert judged(stamps_s)[0] is None
    assert judged(stamps_s, list(range(len(stamps_s))))[0] is None


def test_frames_that_the_node_was_too_slow_to_take_are_not_lost_on_the_way():
    numbers = [number for number in range(400) if number % 3 == 0]
    loss, losses = judged([100 + number * PERIOD_S for number in numbers], numbers, waited_s=0.2)
    assert (loss, losses.lost) == (None, 0)


def test_a_burst_of_losses_at_the_start_is_no_fault():
    numbers = [0, *range(40, 200)]
    assert judged([100 + number * PERIOD_S for number in numbers], numbers)[0] is None


def test_publishers_that_send_in_turn_are_told_from_one_that_follows_another():
    times_s = grid([1] * 100)
    _, mixed = judged(times_s, [number // 2 + number % 2 * 1000 for number in range(100)])
    _, follows = judged(times_s, [*range(50), *range(50)])
    assert mixed.are_mixed(times_s[-1])
    assert not follows.are_mixed(times_s[-1])


def test_a_few_short_gaps_are_no_fault():
    gaps_ns = [0, *[20_000_000] * 3, *[200_000_000] * 22]
    assert missing_between(list(itertools.accumulate(gaps_ns))) is None


STAMP_NS = st.integers(-(2**31) * 10**9, 2**32 * 10**9)


@given(
    st.lists(STAMP_NS, max_size=61)
    | st.lists(st.integers(1, 10**10), max_size=61).map(
        lambda gaps: list(itertools.accumulate(gaps))
    )
    | st.lists(st.sampled_from([1, 2, 10**7, 10**9, 2**31 * 10**9]), min_size=21, max_size=60).map(
        lambda gaps: list(itertools.accumulate(gaps))
    )
)
def test_no_stamps_are_a_fault_of_the_node(stamps_ns):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        missing_between(stamps_ns)
