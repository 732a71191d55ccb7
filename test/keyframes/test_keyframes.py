"""Which frames are worth a sweep: photographs as a camera's view, with light, people and motion."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_perception import images
from deep_perception.keyframes import Keyframes
from deep_perception.settings import KeyframeSettings

NAMES = ("astronaut", "chelsea", "coffee", "rocket")
LARGE = {
    name: cv2.resize(images.load(Path(__file__).parents[1] / "data" / f"{name}.jpg"), (960, 720))
    for name in NAMES
}
VIEWS = {name: cv2.resize(image, (640, 480)) for name, image in LARGE.items()}
VIEWS["wall"] = np.full((480, 640, 3), (190, 195, 200), np.uint8)
TEXTURED = [name for name in NAMES if name != "rocket"]  # the rocket's sky fills most of it


def play(frames, rate_hz=10.0, start_s=100.0, keyframes=None, **settings):
    """The reason of every frame, "" for none, as a node that analyses at once would find."""
    keyframes = keyframes or Keyframes()
    return [
        decision.reason if decision else ""
        for decision in decisions(frames, rate_hz, start_s, keyframes, **settings)
    ]


def decisions(frames, rate_hz=10.0, start_s=100.0, keyframes=None, **settings):
    keyframes, found = keyframes or Keyframes(), []
    for number, frame in enumerate(frames):
        stamp_ns = round((start_s + number / rate_hz) * 1e9)
        found.append(keyframes.decide(frame, stamp_ns, KeyframeSettings(**settings)))
    return found


def at(stamps_s, frame=VIEWS["coffee"], **settings):
    """The same frame at these stamps."""
    keyframes, found = Keyframes(), []
    for stamp_s in stamps_s:
        found += play([frame], start_s=stamp_s, keyframes=keyframes, **settings)
    return found


def exposed(image, gain=1.0, offset=0.0, gamma=1.0, balance=(1.0, 1.0, 1.0), noise=0.0, seed=0):
    light = 255.0 * (image / 255.0) ** gamma * np.array(balance) * gain + offset
    if noise:
        light = light + np.random.default_rng(seed).normal(0.0, noise, image.shape)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def jpeg(image, quality):
    _, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    return cv2.imdecode(data, cv2.IMREAD_COLOR)


def with_person(image, x, height=220, colours=((60, 40, 140), (40, 40, 40), (140, 170, 220))):
    """A person whose centre is at column x: jacket, trousers, head."""
    drawn, foot = image.copy(), image.shape[0] - 30
    width = round(height * 0.32)
    jacket, trousers, skin = colours
    top = foot - height
    cv2.rectangle(drawn, (x - width // 3, foot - height // 2), (x + width // 3, foot), trousers, -1)
    cv2.ellipse(
        drawn, (x, top + round(height * 0.36)), (width // 2, round(height * 0.24)), 0, 0, 360,
        jacket, -1,
    )  # fmt: skip
    cv2.circle(drawn, (x, top + round(height * 0.08)), round(height * 0.08), skin, -1)
    return drawn


# --- stamps ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("stamps_s", "expected"),
    [
        # the first frame, then one a second
        ([0, 0.5, 0.99, 1.0, 1.5, 2.0], ["first", "", "", "heartbeat", "", "heartbeat"]),
        # a frame that was overtaken is no new start
        ([10, 9.8, 10.2, 11.0], ["first", "", "", "heartbeat"]),
        # a bag that is played again is
        ([10, 11, 3.0, 3.5, 4.0], ["first", "heartbeat", "first", "", "heartbeat"]),
    ],
)
def test_one_every_min_interval_whatever_it_shows(stamps_s, expected):
    assert at(stamps_s, mode="interval") == expected


def test_without_a_least_interval_every_frame_counts():
    assert (
        at([1, 1, 1.1, 1.2], mode="interval", min_interval_s=0.0) == ["first"] + ["heartbeat"] * 3
    )


def test_an_unchanged_view_has_a_heartbeat():
    assert at([0, 10, 29.9, 30, 31, 59, 60.5]) == [
        "first", "", "", "heartbeat", "", "", "heartbeat",
    ]  # fmt: skip
    assert at([0, 30, 3600, 86400], max_interval_s=0.0) == ["first", "", "", ""]


def test_a_bag_that_is_played_again_starts_anew():
    # Its only keyframe was its first frame, so the stamps never go back behind a keyframe.
    assert at([0, 5, 10, 0, 5, 10]) == ["first", "", "", "first", "", ""]


def test_between_keyframes_a_frame_need_not_be_decoded():
    keyframes, settings = Keyframes(), KeyframeSettings()
    second = 10**9
    assert keyframes.due(0, settings)
    assert keyframes.decide(VIEWS["coffee"], 0, settings)
    assert not keyframes.due(second // 2, settings)
    assert keyframes.decide(VIEWS["rocket"], second // 2, settings) is None
    assert keyframes.due(second, settings)


def test_a_requested_keyframe_is_the_next_frame():
    keyframes = Keyframes()
    assert play([VIEWS["coffee"]] * 5, keyframes=keyframes) == ["first", "", "", "", ""]
    keyframes.request()
    assert play([VIEWS["coffee"]] * 30, keyframes=keyframes, start_s=100.5) == (
        ["requested"] + [""] * 29
    )


@pytest.mark.parametrize("second", ["coffee", "rocket"])
def test_what_could_not_be_swept_is_found_again_after_the_least_interval(second):
    keyframes, settings = Keyframes(), KeyframeSettings()
    assert keyframes.decide(VIEWS["coffee"], 0, settings)
    failing = []
    for tenth in range(10, 40):
        found = keyframes.decide(VIEWS[second], tenth * 10**8, settings)
        if found:
            failing.append(found.reason)
            keyframes.revert(found)
    assert failing == ([] if second == "coffee" else ["scene"] * 3)


def test_a_first_frame_that_could_not_be_swept_is_still_to_come():
    keyframes, settings, reasons = Keyframes(), KeyframeSettings(), []
    for tenth in range(21):
        found = keyframes.decide(VIEWS["wall"], tenth * 10**8, settings)
        if found:
            reasons.append(found.reason)
            keyframes.revert(found)
    assert reasons == ["first"] * 3


def test_looking_at_a_frame_decides_nothing():
    second, settings = 10**9, KeyframeSettings()
    keyframes = Keyframes()
    keyframes.decide(VIEWS["coffee"], 0, settings)
    person = with_person(VIEWS["coffee"], 400)
    for _ in range(3):
        assert keyframes.preview(VIEWS["coffee"], second, settings) is None
        assert keyframes.preview(VIEWS["rocket"], 2 * second, settings).reason == "scene"
    # However often one frame is looked at, it is not two frames running.
    for _ in range(3):
        assert keyframes.preview(person, 3 * second, settings) is None
    assert keyframes.decide(person, 3 * second, settings) is None
    assert keyframes.preview(person, 4 * second, settings).reason == "local"
    assert keyframes.decide(person, 4 * second, settings).reason == "local"


# --- light ----------------------------------------------------------------------------------------


def sway(number, period):
    return math.sin(2 * math.pi * number / period)


FLICKER = {
    "gradual gain": lambda image, n: exposed(image, gain=1 + 0.3 * sway(n, 60)),
    "gradual offset": lambda image, n: exposed(image, offset=76 * sway(n, 60)),
    "gradual both": lambda image, n: exposed(
        image, gain=1 + 0.3 * sway(n, 60), offset=38 * sway(n, 47)
    ),
    "sudden gain": lambda image, n: exposed(image, gain=(1.0, 1.3, 0.7)[n // 7 % 3]),
    "every other frame": lambda image, n: exposed(image, gain=(0.7, 1.3)[n % 2]),
    "sudden both": lambda image, n: exposed(
        image, gain=(1.0, 1.3, 0.7)[n // 7 % 3], offset=(0, 30, -30)[n // 5 % 3]
    ),
    "gamma": lambda image, n: exposed(image, gamma=(1.0, 0.7, 1.4)[n // 7 % 3]),
    "white balance": lambda image, n: exposed(
        image, balance=(1 - 0.15 * sway(n, 60), 1.0, 1 + 0.15 * sway(n, 60))
    ),
    "sensor noise": lambda image, n: exposed(image, noise=15, seed=n),
    "gain and noise": lambda image, n: exposed(image, gain=1 + 0.3 * sway(n, 60), noise=10, seed=n),
    "gain and JPEG": lambda image, n: jpeg(exposed(image, gain=1 + 0.3 * sway(n, 60)), 30 + n % 50),
}


@pytest.mark.parametrize("flicker", FLICKER)
@pytest.mark.parametrize("name", VIEWS)
def test_light_alone_is_no_keyframe(name, flicker):
    frames = [FLICKER[flicker](VIEWS[name], number) for number in range(40)]
    # Every frame is looked at: the least interval must not hide one.
    assert play(frames, min_interval_s=0.0) == ["first"] + [""] * 39


light = st.tuples(st.floats(0.7, 1.3), st.floats(-30, 30))


@given(name=st.sampled_from(sorted(VIEWS)), before=light, now=light)
def test_any_two_exposures_of_a_view_are_the_same_view(name, before, now):
    first, second = (exposed(VIEWS[name], *each) for each in (before, now))
    assert play([first, second, second, second], min_interval_s=0.0) == ["first", "", "", ""]


@given(
    name=st.sampled_from(sorted(VIEWS)),
    blue=st.floats(0.85, 1.15),
    red=st.floats(0.85, 1.15),
    gain=st.floats(0.8, 1.2),
)
def test_any_white_balance_of_a_view_is_the_same_view(name, blue, red, gain):
    second = exposed(VIEWS[name], gain=gain, balance=(blue, 1.0, red))
    assert play([VIEWS[name], second, second, second], min_interval_s=0.0) == ["first", "", "", ""]


# --- cuts -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("before", VIEWS)
@pytest.mark.parametrize("now", VIEWS)
def test_a_cut_is_one_keyframe(before, now):
    reasons = play([VIEWS[before]] * 12 + [VIEWS[now]] * 20)
    expected = {12: "scene"} if before != now else {}
    assert {at: reason for at, reason in enumerate(reasons) if reason} == {0: "first", **expected}


def test_a_cut_within_the_least_interval_waits_for_its_end():
    reasons = play([VIEWS["coffee"]] * 5 + [VIEWS["astronaut"]] * 20)
    assert {at: reason for at, reason in enumerate(reasons) if reason} == {0: "first", 10: "scene"}


@pytest.mark.parametrize("name", NAMES)
def test_a_covered_lens_and_its_opening_are_noticed(name):
    black = exposed(np.zeros_like(VIEWS[name]), noise=3)
    reasons = play([VIEWS[name]] * 11 + [black] * 12 + [VIEWS[name]] * 12)
    # Within two frames, also where the view is dark itself.
    for covered_or_open in (reasons[11:23], reasons[23:]):
        assert any(covered_or_open[:2]) and not any(covered_or_open[2:])


def test_another_colour_of_a_plain_view_is_noticed():
    red, green = (
        np.full((480, 640, 3), colour, np.uint8) for colour in ((30, 30, 200), (30, 200, 30))
    )
    assert play([red, green, green], min_interval_s=0.0)[1] == "scene"


def test_another_size_of_the_picture_is_another_scene():
    frames = [VIEWS["coffee"]] * 2 + [LARGE["coffee"]] * 2
    assert play(frames, min_interval_s=0.0) == ["first", "", "scene", ""]


@pytest.mark.parametrize(
    "size", [(1, 1), (3, 500), (160, 120), (176, 144), (480, 640), (1920, 1080)]
)
def test_pictures_of_any_size(size):
    frames = [cv2.resize(VIEWS[name], size, interpolation=cv2.INTER_AREA) for name in NAMES[:2]]
    reasons = play([frames[0], frames[0], frames[1], frames[1]], min_interval_s=0.0)
    assert reasons[:2] == ["first", ""]
    if min(size) > 100:
        assert reasons[2:] == ["scene", ""]


# --- people ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", VIEWS)
@pytest.mark.parametrize("flicker", [False, True])
def test_a_person_who_comes_stands_and_leaves_is_noticed(name, flicker):
    path = [*range(-60, 320, 20), *[320] * 40, *range(320, 740, 20), *[740] * 30]
    frames = [
        exposed(with_person(VIEWS[name], x), gain=1 + (0.25 * sway(number, 40) if flicker else 0.0))
        for number, x in enumerate(path)
    ]
    found = decisions(frames)
    coming, standing, leaving, gone = found[1:21], found[32:59], found[60:82], found[93:]
    assert found[0].reason == "first"
    assert {each.reason for each in found[1:] if each} == {"local"}
    assert any(coming) and any(leaving)
    assert not any(standing) and not any(gone)


@pytest.mark.parametrize("name", VIEWS)
def test_the_changed_tiles_are_where_the_person_is(name):
    frames = [VIEWS[name]] * 11 + [with_person(VIEWS[name], 400)] * 3
    found = decisions(frames)
    assert [each.reason for each in found if each] == ["first", "local"]
    assert found[12] is not None  # the second frame that shows it
    assert found[12].changed.shape == (12, 16)
    # The person fills rows 230 to 450 and columns 365 to 435; a tile is 40 x 40 pixels. Dark
    # trousers before the coffee's dark table cannot be seen.
    rows, columns = np.nonzero(found[12].changed)
    assert len(rows) >= 5
    assert 5 <= rows.min() <= 7 and rows.max() <= 11
    assert columns.min() >= 8 and columns.max() <= 11


def test_a_change_too_small_to_count_is_swept_with_the_next_one_that_counts():
    cup = VIEWS["astronaut"].copy()
    cup[45:75, 45:115] = (20, 200, 20)
    frames = [VIEWS["astronaut"]] * 3 + [cup] * 11 + [with_person(cup, 500)] * 3
    found = decisions(frames)
    assert [each.reason for each in found if each] == ["first", "local"]
    changed = next(each for each in found[1:] if each).changed
    # Later views are compared with this one, which shows both.
    assert changed[1, 1:3].any()
    assert changed[5:, 8:].any()


@pytest.mark.parametrize("step", [0.3, 1.0])
def test_a_camera_that_turns_slowly_keeps_no_regions_in_pixels_that_they_have_left(step):
    """Less than a view's change a heartbeat: pixels a second, of 640."""
    frames = [LARGE["coffee"][120:600, int(step * s) :][:, :640] for s in range(100)]
    found = decisions([np.ascontiguousarray(frame) for frame in frames], rate_hz=1.0)
    beats = [each for each in found if each]
    assert [each.reason for each in beats] == ["first"] + ["heartbeat"] * 3
    assert [each.changed for each in beats] == [None] * 4


def test_shifts_too_small_for_one_heartbeat_add_up():
    frames = [LARGE["coffee"][120:600, x : x + 640].copy() for x in range(6)]
    beats = decisions(frames, rate_hz=1 / 30)
    whole = [each.changed is None for each in beats]
    assert whole[0] and not whole[1] and any(whole[2:])


def test_what_is_seen_in_one_frame_only_does_not_count():
    here, empty = with_person(VIEWS["coffee"], 400), VIEWS["coffee"]
    assert play([empty, here, empty, here, empty], min_interval_s=0.0) == ["first", "", "", "", ""]


def test_the_smallest_change_that_counts_is_a_setting():
    frames = [VIEWS["coffee"]] + [with_person(VIEWS["coffee"], 400)] * 3
    assert play(frames, min_interval_s=0.0, local_tiles=1)[2] == "local"
    assert play(frames, min_interval_s=0.0, local_tiles=40) == ["first", "", "", ""]
    assert play(frames, min_interval_s=0.0, local_tiles=0) == ["first", "", "", ""]


# --- motion of the camera -------------------------------------------------------------------------


def window(name, x, y):
    return cv2.warpAffine(LARGE[name], np.array([[1, 0, -x], [0, 1, -y]], np.float64), (640, 480))


@pytest.mark.parametrize("name", TEXTURED)
def test_a_slow_pan_is_another_view_now_and_then(name):
    # A hundredth of the width a frame, every frame looked at.
    reasons = play([window(name, 6.4 * step, 100) for step in range(50)], min_interval_s=0.0)
    fired = [step for step, reason in enumerate(reasons) if reason]
    assert {reasons[step] for step in fired[1:]} == {"view"}
    assert min(np.diff(fired)) >= 4  # not before the picture has moved by 4 % of its width
    assert max(np.diff(fired)) <= 12


@pytest.mark.parametrize("name", TEXTURED)
def test_the_part_of_the_view_that_makes_another_view_is_a_setting(name):
    def person_and_edge(number):
        return with_person(VIEWS[name], 300, height=440) if number else VIEWS[name]

    frames = [person_and_edge(number) for number in range(4)]
    assert play(frames, min_interval_s=0.0)[1] == ""
    assert play(frames, min_interval_s=0.0, view_share=0.05)[1] == "view"


def on_a_wall(shift):
    """A thing on a wall without texture, moved by so many pixels."""
    noise = np.random.default_rng(shift).normal(0, 3, (480, 640, 3))
    image = np.full((480, 640, 3), (180, 185, 190), np.float64)
    image[150:290, 200 + shift : 340 + shift] = (40, 60, 160)
    image[180:220, 230 + shift : 300 + shift] = (20, 200, 220)
    return np.clip(image + noise, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("shift", [16, 24, 40])
def test_a_thing_that_moves_before_a_plain_wall_is_not_taken_for_the_camera(shift):
    frames = [on_a_wall(0)] * 2 + [on_a_wall(shift)] * 3
    assert play(frames, min_interval_s=0.0)[2:4] == ["", "local"]


@pytest.mark.parametrize("shift", [4, 8, 12, 16])
def test_before_a_plain_wall_too_no_region_is_kept_where_it_no_longer_is(shift):
    first, later = decisions([on_a_wall(0), on_a_wall(shift)], rate_hz=0.02, local_tiles=0)
    assert first.reason == "first"
    assert later.reason == "heartbeat"
    assert later.changed is None


@pytest.mark.parametrize("name", NAMES)
def test_a_hand_that_trembles_is_no_keyframe(name):
    generator, frames = np.random.default_rng(3), []
    for _ in range(60):
        x, y = generator.normal(0, 4, 2).clip(-12, 12)
        frame = cv2.getRotationMatrix2D((480, 360), float(generator.normal(0, 0.25)), 1.0)
        frame[:, 2] -= (160 + x, 120 + y)
        frames.append(cv2.warpAffine(LARGE[name], frame, (640, 480)))
    assert play(frames, min_interval_s=0.0) == ["first"] + [""] * 59


def tilted(image, amount):
    height, width = image.shape[:2]
    corners = np.array([[0, 0], [width, 0], [width, height], [0, height]], np.float32)
    inward = np.array([[1, 1], [-1, 0], [-1, 0], [1, -1]], np.float32) * (width * amount)
    return cv2.warpPerspective(
        image, cv2.getPerspectiveTransform(corners, corners + inward), (width, height),
        borderMode=cv2.BORDER_REFLECT,
    )  # fmt: skip


@pytest.mark.parametrize("name", TEXTURED)
def test_another_viewpoint_is_noticed(name):
    reasons = play([tilted(VIEWS[name], 0.2 * step / 60) for step in range(60)], min_interval_s=0.0)
    fired = [reason for reason in reasons[1:] if reason]
    assert 2 <= len(fired) <= 20
    assert set(fired) <= {"view", "local"}


# --- the same again -------------------------------------------------------------------------------


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
    assert [each and each.reason for each in one] == [each and each.reason for each in other]
    for mine, its in zip(one, other, strict=True):
        if mine is not None and mine.changed is not None:
            assert np.array_equal(mine.changed, its.changed)
