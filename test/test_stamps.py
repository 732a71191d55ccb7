"""Which time counts for a frame: its stamp or its arrival."""

import itertools

import pytest

from deep_perception.stamps import NANOSECONDS, FrameStamps

NOW = 1_767_225_600.0
RATE_HZ = 10


def run(stamps_s, arrivals_s=None, **arguments):
    """Effective times in seconds since NOW, what was wrong at any time, and what is at the end."""
    judge, effective, problems = FrameStamps(), [], []
    for number, stamp_s in enumerate(stamps_s):
        arrival_s = NOW + (number / RATE_HZ if arrivals_s is None else arrivals_s[number])
        time_ns = judge.effective_ns(
            round(stamp_s * NANOSECONDS), round(arrival_s * NANOSECONDS), **arguments
        )
        effective.append(time_ns / NANOSECONDS - NOW)
        problems += [judge.problem] if judge.problem and judge.problem not in problems else []
    return effective, problems, judge.problem


def frames(count=100, offset_s=0.0, rate=1.0):
    return [NOW + offset_s + rate * number / RATE_HZ for number in range(count)]


def wrapped():
    """The field of seconds is never set, only the nanoseconds are."""
    return [1000 + number / RATE_HZ % 1 for number in range(100)]


def in_turns(*offsets_s, length=1):
    return [
        NOW + number / RATE_HZ + offsets_s[number // length % len(offsets_s)]
        for number in range(100)
    ]


@pytest.mark.parametrize(
    ("stamps_s", "said"),
    [
        ([1000.0] * 100, "stand still"),
        ([NOW + 7e8] * 100, "stand still"),
        (frames(rate=1e-3), "stand still"),
        (frames(rate=1e-6), "stand still"),
        ([1000.0 + number // 30 * 0.01 for number in range(100)], "stand still"),
        (wrapped(), "stand still"),
        (frames(rate=1000), "1000 times as fast"),
        (frames(rate=1_000_000, offset_s=-NOW + 5), "1000000 times as fast"),
        (in_turns(0, -10), "10.0 s apart"),
        (in_turns(0, 10, length=3), "10.0 s apart"),
        (in_turns(0, -7, 5), "apart"),
        ([0.0] * 100, "have no stamp"),
        ([-5.0] * 100, "have no stamp"),
    ],
)
def test_stamps_that_are_of_no_use_give_way_to_arrival(stamps_s, said):
    effective, problems, last = run(stamps_s)
    assert said in last
    assert all(said in problem for problem in problems)
    # From then on time passes as it does for the frames.
    steps = [after - before for before, after in itertools.pairwise(effective[50:])]
    assert steps == pytest.approx([1 / RATE_HZ] * 49, abs=1e-4)


@pytest.mark.parametrize(
    "stamps_s",
    [
        frames(),
        frames(offset_s=-3 * 3600),
        frames(offset_s=-NOW + 20),  # since the start of the computer
        frames(rate=10),  # a recording that is played fast
        frames(rate=0.05),
        [NOW + number // 10 for number in range(100)],  # whole seconds
        [NOW + number / 10 + (number * 7 % 5 - 2) * 0.1 for number in range(100)],  # jitter
        [1 + each % 3 for each in frames()],  # a recording of 3 s in a loop
        frames(50) + frames(100, offset_s=-600)[50:],
        [NOW + 0.25 + 40.0 * number for number in range(100)],
    ],
)
def test_stamps_that_are_of_use_stay(stamps_s):
    effective, problems, _ = run(stamps_s)
    assert problems == []
    assert effective == pytest.approx([stamp_s - NOW for stamp_s in stamps_s], abs=1e-4)


def test_a_clock_that_hardly_moves_is_found_though_frames_arrive_in_bursts():
    arrivals_s = [NOW + number // 3 * 3 / RATE_HZ + number % 3 * 1e-5 for number in range(100)]
    _, _, last = run(frames(rate=1e-3), arrivals_s)
    assert "stand still" in last
    assert not run(frames(), arrivals_s)[1]


def test_frames_that_arrive_late_are_no_second_clock():
    late = [number / RATE_HZ + (3.0 if number % 40 > 30 else 0.0) for number in range(100)]
    assert run(frames(), [max(late[: number + 1]) for number in range(100)])[1] == []


def test_a_pause_of_the_player_is_no_standstill():
    arrivals_s = [number / RATE_HZ + (60.0 if number > 40 else 0.0) for number in range(100)]
    assert run(frames(), arrivals_s)[1] == []


def test_one_stamp_far_ahead_is_an_error_of_that_frame():
    stamps_s = frames()
    stamps_s[40] += 3600
    effective, problems, _ = run(stamps_s)
    assert problems == []
    assert effective == pytest.approx([number / RATE_HZ for number in range(100)], abs=1e-4)


def test_a_clock_that_is_set_is_believed_when_a_second_frame_agrees():
    effective, problems, _ = run(frames(30, offset_s=-NOW + 20) + frames(130)[30:])
    assert problems == []
    assert effective[30:] == pytest.approx(
        [23 - NOW, *(number / RATE_HZ for number in range(31, 130))]
    )


def test_frames_without_a_stamp_keep_the_clock_of_the_others():
    stamps_s = [0.0 if number % 5 == 4 else 10 + number / RATE_HZ for number in range(100)]
    effective, problems, _ = run(stamps_s)
    assert problems == ["have no stamp"]
    assert effective == pytest.approx([10 + number / RATE_HZ - NOW for number in range(100)])


def test_simulated_time_that_starts_again_is_no_second_clock():
    times_s = [100 + number / RATE_HZ - (50 if number > 60 else 0) for number in range(100)]
    effective, problems, _ = run(times_s, [time_s - NOW for time_s in times_s])
    assert problems == []
    assert effective == pytest.approx([time_s - NOW for time_s in times_s])


def test_two_publishers_are_known_at_once_and_time_never_goes_back():
    effective, problems, last = run(in_turns(0, -10), several_senders=True)
    assert len(problems) == 1
    assert last.endswith("10.0 s apart")
    assert effective == sorted(effective)


def test_stamps_are_trusted_again_once_they_agree_with_the_arrival():
    stamps_s = [NOW] * 50 + frames(250)[50:]
    effective, _, last = run(stamps_s)
    assert last == ""
    assert effective[60:] == pytest.approx([number / RATE_HZ for number in range(60, 250)])
