"""Which frames are worth a sweep."""

import pytest

from deep_perception.keyframes import Keyframes
from deep_perception.settings import KeyframeSettings


def reasons(stamps_s, interval_s=1.0):
    keyframes, found = Keyframes(), []
    for stamp_s in stamps_s:
        stamp_ns = round(stamp_s * 1e9)
        reason = keyframes.reason(stamp_ns, KeyframeSettings(min_interval_s=interval_s))
        if reason:
            keyframes.took(stamp_ns)
        found.append(reason)
    return found


@pytest.mark.parametrize(
    ("stamps_s", "expected"),
    [
        # the first frame, then one a second
        ([0, 0.5, 0.99, 1.0, 1.5, 2.0], ["first frame", "", "", "interval", "", "interval"]),
        # a frame that overtakes another is no new start
        ([10, 9.8, 10.2, 11.0], ["first frame", "", "", "interval"]),
        # a bag that is played again is
        ([10, 11, 3.0, 3.5, 4.0], ["first frame", "interval", "time went back", "", "interval"]),
    ],
)
def test_rule(stamps_s, expected):
    assert reasons(stamps_s) == expected


def test_without_an_interval_every_frame_counts():
    assert all(reasons([1, 1, 1.1, 1.05], interval_s=0.0))


def test_a_frame_that_could_not_be_read_does_not_use_up_the_interval():
    keyframes, settings = Keyframes(), KeyframeSettings()
    assert keyframes.reason(0, settings)
    assert keyframes.reason(1, settings)
    keyframes.took(1)
    assert not keyframes.reason(2, settings)
