"""When a frame can be a keyframe: stamps, requests, failures and previews."""

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_perception.keyframes import Keyframes
from deep_perception.settings import KeyframeSettings
from deep_perception.stamps import NANOSECONDS
from support.keyframes import LARGE, NAMES, VIEWS, decisions, exposed, reasons_of, with_person


def reasons_at(stamps_s, **settings):
    """The reasons of decisions on the same image at these stamps."""
    keyframes, found = Keyframes(), []
    for stamp_s in stamps_s:
        found += reasons_of([VIEWS["coffee"]], start_s=stamp_s, keyframes=keyframes, **settings)
    return found


@pytest.mark.parametrize(
    ("stamps_s", "expected"),
    [
        # The first frame, then one per second.
        ([0, 0.5, 0.99, 1.0, 1.5, 2.0], ["first", "", "", "heartbeat", "", "heartbeat"]),
        # A frame that arrives after a newer one does not start anew.
        ([10, 9.8, 10.2, 11.0], ["first", "", "", "heartbeat"]),
        # A recording that is played again does.
        ([10, 11, 3.0, 3.5, 4.0], ["first", "heartbeat", "first", "", "heartbeat"]),
    ],
)
def test_in_the_mode_interval_a_keyframe_comes_after_every_min_interval(stamps_s, expected):
    assert reasons_at(stamps_s, mode="interval") == expected


def test_in_the_mode_interval_without_a_minimum_every_frame_is_a_keyframe():
    assert (
        reasons_at([1, 1, 1.1, 1.2], mode="interval", min_interval_s=0.0)
        == ["first"] + ["heartbeat"] * 3
    )


def test_an_unchanged_view_is_a_keyframe_after_every_max_interval():
    assert reasons_at([0, 10, 29.9, 30, 31, 59, 60.5]) == [
        "first", "", "", "heartbeat", "", "", "heartbeat",
    ]  # fmt: skip
    assert reasons_at([0, 30, 3600, 86400], max_interval_s=0.0) == ["first", "", "", ""]


def test_a_recording_that_is_played_again_starts_anew():
    # Only the first frame was a keyframe, so no stamp is before a keyframe.
    assert reasons_at([0, 5, 10, 0, 5, 10]) == ["first", "", "", "first", "", ""]


def test_a_frame_before_the_end_of_min_interval_is_not_due():
    keyframes, settings = Keyframes(), KeyframeSettings()
    second = NANOSECONDS
    assert keyframes.due(0, settings)
    assert keyframes.decide(VIEWS["coffee"], 0, settings)
    assert not keyframes.due(second // 2, settings)
    assert keyframes.decide(VIEWS["rocket"], second // 2, settings) is None
    assert keyframes.due(second, settings)


def test_a_requested_keyframe_is_the_next_frame():
    keyframes = Keyframes()
    assert reasons_of([VIEWS["coffee"]] * 5, keyframes=keyframes) == ["first", "", "", "", ""]
    keyframes.request()
    assert reasons_of([VIEWS["coffee"]] * 30, keyframes=keyframes, start_s=100.5) == (
        ["requested"] + [""] * 29
    )


@pytest.mark.parametrize("second", ["coffee", "rocket"])
def test_a_change_that_could_not_be_swept_is_found_again_after_min_interval(second):
    keyframes, settings = Keyframes(), KeyframeSettings()
    assert keyframes.decide(VIEWS["coffee"], 0, settings)
    failing = []
    for tenth in range(10, 40):
        found = keyframes.decide(VIEWS[second], tenth * 10**8, settings)
        if found:
            failing.append(found.reason)
            keyframes.revert(found)
    assert failing == ([] if second == "coffee" else ["scene"] * 3)


def test_a_first_frame_that_could_not_be_swept_is_followed_by_another_first_one():
    keyframes, settings, reasons = Keyframes(), KeyframeSettings(), []
    for tenth in range(21):
        found = keyframes.decide(VIEWS["wall"], tenth * 10**8, settings)
        if found:
            reasons.append(found.reason)
            keyframes.revert(found)
    assert reasons == ["first"] * 3


def test_a_preview_decides_nothing():
    second, settings = NANOSECONDS, KeyframeSettings()
    keyframes = Keyframes()
    keyframes.decide(VIEWS["coffee"], 0, settings)
    person = with_person(VIEWS["coffee"], 400)
    for _ in range(3):
        assert keyframes.preview(VIEWS["coffee"], second, settings) is None
        assert keyframes.preview(VIEWS["rocket"], 2 * second, settings).reason == "scene"
    # Repeated previews of one frame do not count as two successive frames.
    for _ in range(3):
        assert keyframes.preview(person, 3 * second, settings) is None
    assert keyframes.decide(person, 3 * second, settings) is None
    assert keyframes.preview(person, 4 * second, settings).reason == "local"
    assert keyframes.decide(person, 4 * second, settings).reason == "local"


def test_another_image_size_is_another_scene():
    frames = [VIEWS["coffee"]] * 2 + [LARGE["coffee"]] * 2
    assert reasons_of(frames, min_interval_s=0.0) == ["first", "", "scene", ""]


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 500), (160, 120), (176, 144), (480, 640), (1920, 1080)]
)
def test_images_of_any_size(size):
    frames = [cv2.resize(VIEWS[name], size, interpolation=cv2.INTER_AREA) for name in NAMES[:2]]
    reasons = reasons_of([frames[0], frames[0], frames[1], frames[1]], min_interval_s=0.0)
    assert reasons[:2] == ["first", ""]
    if min(size) > 100:
        assert reasons[2:] == ["scene", ""]


@settings(max_examples=15)
@given(seed=st.integers(0, 2**16))
def test_the_same_frames_give_the_same_decisions(seed):
    generator = np.random.default_rng(seed)
    frames = [
        exposed(
            with_person(VIEWS[str(generator.choice(NAMES[:2]))], int(generator.integers(0, 640))),
            gain=generator.uniform(0.7, 1.3),
        )
        for _ in range(6)
    ]
    one, other = (decisions(frames, min_interval_s=0.1) for _ in range(2))
    assert [decision and decision.reason for decision in one] == [
        decision and decision.reason for decision in other
    ]
    for mine, its in zip(one, other, strict=True):
        if mine is not None and mine.changed is not None:
            assert np.array_equal(mine.changed, its.changed)
