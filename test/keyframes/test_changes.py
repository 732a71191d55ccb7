"""Cuts, people, moving objects and camera motion, and the keyframes that they make."""

import cv2
import numpy as np
import pytest

from support.keyframes import (
    LARGE,
    NAMES,
    TEXTURED,
    VIEWS,
    decisions,
    exposed,
    reasons_of,
    sine,
    with_person,
)

# --- cuts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", VIEWS)
@pytest.mark.parametrize("now", VIEWS)
def test_a_cut_is_one_keyframe(before, now):
    reasons = reasons_of([VIEWS[before]] * 12 + [VIEWS[now]] * 20)
    expected = {12: "scene"} if before != now else {}
    assert {at: reason for at, reason in enumerate(reasons) if reason} == {0: "first", **expected}


def test_a_cut_within_min_interval_is_a_keyframe_at_its_end():
    reasons = reasons_of([VIEWS["coffee"]] * 5 + [VIEWS["astronaut"]] * 20)
    assert {at: reason for at, reason in enumerate(reasons) if reason} == {0: "first", 10: "scene"}


@pytest.mark.parametrize("name", NAMES)
def test_covering_and_uncovering_the_lens_are_keyframes(name):
    black = exposed(np.zeros_like(VIEWS[name]), noise=3)
    reasons = reasons_of([VIEWS[name]] * 11 + [black] * 12 + [VIEWS[name]] * 12)
    # Each is noticed within two frames, also in a dark view.
    for covered_or_open in (reasons[11:23], reasons[23:]):
        assert any(covered_or_open[:2]) and not any(covered_or_open[2:])


def test_another_colour_of_a_plain_view_is_a_keyframe():
    red, green = (
        np.full((480, 640, 3), colour, np.uint8) for colour in ((30, 30, 200), (30, 200, 30))
    )
    assert reasons_of([red, green, green], min_interval_s=0.0)[1] == "scene"


# --- people ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("flicker", [False, True])
def test_a_person_who_comes_and_leaves_is_a_local_change_but_not_while_standing(name, flicker):
    path = [*range(-60, 320, 20), *[320] * 40, *range(320, 740, 20), *[740] * 30]
    frames = [
        exposed(with_person(VIEWS[name], x), gain=1 + (0.25 * sine(number, 40) if flicker else 0.0))
        for number, x in enumerate(path)
    ]
    found = decisions(frames)
    coming, standing, leaving, gone = found[1:21], found[32:59], found[60:82], found[93:]
    assert found[0].reason == "first"
    assert {decision.reason for decision in found[1:] if decision} == {"local"}
    assert any(coming) and any(leaving)
    assert not any(standing) and not any(gone)


@pytest.mark.parametrize("name", VIEWS)
def test_the_changed_tiles_are_where_the_person_is(name):
    frames = [VIEWS[name]] * 11 + [with_person(VIEWS[name], 400)] * 3
    found = decisions(frames)
    assert [decision.reason for decision in found if decision] == ["first", "local"]
    assert found[12] is not None  # This is the second frame with the person.
    assert found[12].changed.shape == (12, 16)
    # The person fills rows 230 to 450 and columns 365 to 435; a tile is 40 x 40 pixels. Dark
    # trousers before the coffee's dark table cannot be seen.
    rows, columns = np.nonzero(found[12].changed)
    assert len(rows) >= 5
    assert 5 <= rows.min() <= 7 and rows.max() <= 11
    assert columns.min() >= 8 and columns.max() <= 11


def test_a_small_change_is_swept_with_the_next_change_that_counts():
    cup = VIEWS["astronaut"].copy()
    cup[45:75, 45:115] = (20, 200, 20)
    frames = [VIEWS["astronaut"]] * 3 + [cup] * 11 + [with_person(cup, 500)] * 3
    found = decisions(frames)
    assert [decision.reason for decision in found if decision] == ["first", "local"]
    changed = next(decision for decision in found[1:] if decision).changed
    # Later frames are compared with this one, so both changes must be swept.
    assert changed[1, 1:3].any()
    assert changed[5:, 8:].any()


def test_a_change_in_a_single_frame_does_not_count():
    here, empty = with_person(VIEWS["coffee"], 400), VIEWS["coffee"]
    assert reasons_of([empty, here, empty, here, empty], min_interval_s=0.0) == [
        "first",
        "",
        "",
        "",
        "",
    ]


def test_the_size_of_a_local_change_is_a_setting():
    frames = [VIEWS["coffee"]] + [with_person(VIEWS["coffee"], 400)] * 3
    assert reasons_of(frames, min_interval_s=0.0, local_tiles=1)[2] == "local"
    assert reasons_of(frames, min_interval_s=0.0, local_tiles=40) == ["first", "", "", ""]
    assert reasons_of(frames, min_interval_s=0.0, local_tiles=0) == ["first", "", "", ""]


# --- motion of the camera -------------------------------------------------------------------------


@pytest.mark.parametrize("step", [0.3, 1.0])
def test_regions_are_not_kept_while_the_camera_turns_slowly(step):
    """``step`` is in pixels per second, which is too little for the reason ``view``."""
    frames = [LARGE["coffee"][120:600, int(step * s) :][:, :640] for s in range(100)]
    found = decisions([np.ascontiguousarray(frame) for frame in frames], rate_hz=1.0)
    beats = [decision for decision in found if decision]
    assert [decision.reason for decision in beats] == ["first"] + ["heartbeat"] * 3
    assert [decision.changed for decision in beats] == [None] * 4


def test_shifts_that_are_too_small_to_notice_add_up():
    frames = [LARGE["coffee"][120:600, x : x + 640].copy() for x in range(6)]
    beats = decisions(frames, rate_hz=1 / 30)
    whole = [decision.changed is None for decision in beats]
    assert whole[0] and not whole[1] and any(whole[2:])


def window(name, x, y):
    return cv2.warpAffine(LARGE[name], np.array([[1, 0, -x], [0, 1, -y]], np.float64), (640, 480))


@pytest.mark.parametrize("name", TEXTURED)
def test_a_slow_pan_is_another_view_at_intervals(name):
    # The view moves by a hundredth of its width per frame.
    reasons = reasons_of([window(name, 6.4 * step, 100) for step in range(50)], min_interval_s=0.0)
    fired = [step for step, reason in enumerate(reasons) if reason]
    assert {reasons[step] for step in fired[1:]} == {"view"}
    assert min(np.diff(fired)) >= 4  # The image has moved by 4 % of its width.
    assert max(np.diff(fired)) <= 12


@pytest.mark.parametrize("name", TEXTURED)
def test_the_share_of_a_changed_view_is_a_setting(name):
    def person_and_edge(number):
        return with_person(VIEWS[name], 300, height=440) if number else VIEWS[name]

    frames = [person_and_edge(number) for number in range(4)]
    assert reasons_of(frames, min_interval_s=0.0)[1] == ""
    assert reasons_of(frames, min_interval_s=0.0, view_share=0.05)[1] == "view"


def object_on_a_wall(shift):
    """An object on a wall without texture, shifted by so many pixels."""
    noise = np.random.default_rng(shift).normal(0, 3, (480, 640, 3))
    image = np.full((480, 640, 3), (180, 185, 190), np.float64)
    image[150:290, 200 + shift : 340 + shift] = (40, 60, 160)
    image[180:220, 230 + shift : 300 + shift] = (20, 200, 220)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shift", [16, 24, 40])
def test_an_object_that_moves_before_a_plain_wall_is_a_local_change(shift):
    frames = [object_on_a_wall(0)] * 2 + [object_on_a_wall(shift)] * 3
    assert reasons_of(frames, min_interval_s=0.0)[2:4] == ["", "local"]


@pytest.mark.parametrize("shift", [4, 8, 12, 16])
def test_a_heartbeat_keeps_no_region_of_an_object_that_moved_before_a_plain_wall(shift):
    first, later = decisions(
        [object_on_a_wall(0), object_on_a_wall(shift)], rate_hz=0.02, local_tiles=0
    )
    assert first.reason == "first"
    assert later.reason == "heartbeat"
    assert later.changed is None


@pytest.mark.parametrize("name", NAMES)
def test_a_trembling_camera_makes_no_keyframe(name):
    generator, frames = np.random.default_rng(3), []
    for _ in range(60):
        x, y = generator.normal(0, 4, 2).clip(-12, 12)
        frame = cv2.getRotationMatrix2D((480, 360), float(generator.normal(0, 0.25)), 1.0)
        frame[:, 2] -= (160 + x, 120 + y)
        frames.append(cv2.warpAffine(LARGE[name], frame, (640, 480)))
    assert reasons_of(frames, min_interval_s=0.0) == ["first"] + [""] * 59


def tilted(image, amount):
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inward = np.array([[1, 1], [-1, 0], [-1, 0], [1, -1]], np.float32) * (width * amount)
    return cv2.warpPerspective(
        image, cv2.getPerspectiveTransform(corners, corners + inward), (width, height),
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip


@pytest.mark.parametrize("name", TEXTURED)
def test_another_viewpoint_is_a_keyframe(name):
    reasons = reasons_of(
        [tilted(VIEWS[name], 0.2 * step / 60) for step in range(60)], min_interval_s=0.0
    )
    fired = [reason for reason in reasons[1:] if reason]
    assert 2 <= len(fired) <= 20
    assert set(fired) <= {"view", "local"}
