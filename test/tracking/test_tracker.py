"""Which region is which track: hidden and moving objects, cameras, stamps, and properties."""

import dataclasses
import functools

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_perception.tracking.tracker import Tracker
from support.tracking import (
    EXACT,
    SETTINGS,
    at_stamp,
    describe,
    ids,
    moving_frames,
    scene,
    statuses,
    update,
)
from synthetic.moving_scenes import (
    FIRST_PHOTOGRAPH_LABEL,
    SceneObject,
    Script,
    as_regions,
    frames,
    looking_at,
)


def stay_at_centre(frame):
    return (640, 480)


def ids_of(frame, regions):
    """The track id by true label: that of the region with most of the label's pixels."""
    found = {}
    for label in np.unique(frame.truth[frame.truth >= 0]):
        truth = frame.truth == label
        shared = [np.count_nonzero(truth & region.mask) for region in regions]
        if shared and max(shared) > 0.5 * np.count_nonzero(truth):
            found[int(label)] = regions[int(np.argmax(shared))].track_id
    return found


def track_objects(script, **changes):
    """Yield the track ids of the objects in every frame by label."""
    tracker = Tracker()
    for frame in frames(dataclasses.replace(script, **changes)):
        tracked = tracker.update(frame.regions, frame.image, frame.stamp_ns, SETTINGS)
        found = ids_of(frame, tracked)
        yield {k: v for k, v in found.items() if k < FIRST_PHOTOGRAPH_LABEL}


# -- objects ------------------------------------------------------------------------------------


@pytest.mark.parametrize("change", ["cut", "grown", "shrunk", "moved"])
def test_an_object_keeps_its_id_when_its_mask_changes_by_30_percent(change):
    _, regions = scene()
    tracker = Tracker()
    first = update(tracker, regions, 1)
    changed = []
    for region in regions:
        mask = region.mask.astype(np.uint8)
        area = np.count_nonzero(mask)
        if change == "cut":
            rows, columns = np.nonzero(mask)
            lost = np.argsort(columns, kind="stable")[: int(0.3 * area)]
            mask[rows[lost], columns[lost]] = 0
        elif change == "moved":
            mask = np.roll(mask, (5, 6), axis=(0, 1))
        else:
            kernel = np.ones((3, 3), np.uint8)
            for _ in range(8):
                again = (cv2.dilate if change == "grown" else cv2.erode)(mask, kernel)
                if abs(np.count_nonzero(again) - area) > 0.3 * area:
                    break
                mask = again
        changed.append(mask.astype(bool))
    second = update(tracker, as_regions(changed), 2)
    same = [one.track_id == two.track_id for one, two in zip(first, second, strict=True)]
    assert np.mean(same) >= 0.95


def hidden(seconds):
    """An object that another one covers for this long."""
    last = 3 + round(seconds)
    ball = SceneObject(1, 100, 80, 1, stay_at_centre)
    cover = SceneObject(2, 260, 300, 2, lambda frame: (640, 480) if 3 <= frame < last else None)
    return Script(frames=last + 3, objects=(ball, cover))


def test_a_hidden_object_gets_its_id_back_within_keep_lost_s():
    seen = [found.get(1) for found in track_objects(hidden(SETTINGS.keep_lost_s - 1))]
    assert seen[3] is None and seen[-1] == seen[0] is not None


def test_an_object_hidden_for_longer_gets_a_new_id():
    seen = [found.get(1) for found in track_objects(hidden(SETTINGS.keep_lost_s + 2))]
    assert None not in (seen[0], seen[-1]) and seen[-1] != seen[0]


def test_another_object_in_the_place_of_a_former_one_has_a_new_id():
    one = SceneObject(1, 100, 100, 1, lambda frame: (640, 480) if frame < 4 else None)
    other = SceneObject(2, 100, 100, 2, lambda frame: None if frame < 4 else (640, 480))
    seen = list(track_objects(Script(frames=8, objects=(one, other), noise=EXACT)))
    assert seen[3][1] not in seen[4].values() and seen[4][2] == seen[7][2]


@pytest.mark.parametrize("gap", [95, 130])
def test_two_equal_objects_side_by_side_keep_their_ids(gap):
    def moved(x, frame):
        return (x + 25 * frame, 480)

    pair = [
        SceneObject(label, 90, 110, 2, functools.partial(moved, 450 + gap * label), texture_seed=7)
        for label in (1, 2)
    ]
    seen = list(track_objects(Script(frames=8, objects=pair, noise=EXACT)))
    assert len({found[1] for found in seen}) == len({found[2] for found in seen}) == 1
    assert seen[0][1] != seen[0][2]


def test_a_hidden_object_gets_its_id_back_although_the_camera_moved():
    seen = [
        found.get(1)
        for found in track_objects(
            hidden(4), camera=lambda frame: looking_at(560 + 25 * frame, 480), noise=EXACT
        )
    ]
    assert seen[4] is None and seen[-1] == seen[0] is not None


# -- time, size, cuts ---------------------------------------------------------------------------


def test_a_jump_back_in_time_forgets_all_tracks_and_gives_no_id_twice():
    _, regions = scene()
    tracker = Tracker()
    before = describe(tracker, update(tracker, regions, 100), at_stamp(100))
    again = update(tracker, regions, 100)
    assert ids(again) == ids(before)
    back = update(tracker, regions, 5)
    assert not set(ids(back)) & set(ids(before))
    assert statuses(back) == {"pending"} and {region.first_seen_ns for region in back} == {
        at_stamp(5)
    }
    assert ids(update(tracker, regions, 6)) == ids(back)
    tracker.reset()
    assert not set(ids(update(tracker, regions, 7))) & {*ids(before), *ids(back)}


def test_a_region_of_the_last_keyframe_keeps_its_id_after_any_time():
    _, regions = scene()
    tracker = Tracker()
    before = update(tracker, regions, 1)
    assert ids(update(tracker, regions, 1000)) == ids(before)


@pytest.mark.parametrize("size", [(320, 240), (512, 384), (640, 400)])
def test_ids_and_descriptions_are_kept_when_the_resolution_changes(size):
    image, regions = scene()
    tracker = Tracker()
    before = describe(tracker, update(tracker, regions, 1), at_stamp(1))
    small = cv2.resize(image, size, interpolation=cv2.INTER_AREA)
    shrunk = [cv2.resize(region.mask.astype(np.uint8), size).astype(bool) for region in regions]
    large = [index for index, mask in enumerate(shrunk) if mask.sum() > 100]
    after = update(tracker, as_regions([shrunk[index] for index in large]), 2, small)
    same = [before[index].track_id == one.track_id for index, one in zip(large, after, strict=True)]
    reused = [one.description.status == "reused" for one in after]
    assert np.mean(same) >= 0.95 and np.mean(reused) >= 0.8


def test_ids_are_kept_after_a_covered_camera_and_after_a_cut():
    image, regions = scene()
    (elsewhere,) = frames(Script(frames=1, photograph=2, noise=EXACT))
    tracker = Tracker()
    before = describe(tracker, update(tracker, regions, 1), at_stamp(1))
    black = np.zeros_like(image)
    update(tracker, as_regions([np.ones(image.shape[:2], bool)]), 2, black)
    cut = update(tracker, elsewhere.regions, 3, elsewhere.image)
    assert not set(ids(cut)) & set(ids(before)) and statuses(cut) == {"pending"}
    after = update(tracker, regions, 4)
    assert ids(after) == ids(before) and statuses(after) == {"reused"}
    assert ids(update(tracker, elsewhere.regions, 5, elsewhere.image)) == ids(cut)


def test_images_without_regions_or_without_contrast():
    image, regions = scene()
    tracker = Tracker()
    before = update(tracker, regions, 1)
    assert update(tracker, [], 2) == []
    assert ids(update(tracker, regions, 3)) == ids(before)
    flat = np.full_like(image, 90)
    (one,) = update(tracker, as_regions([np.ones(image.shape[:2], bool)]), 4, flat)
    (same,) = update(tracker, as_regions([np.ones(image.shape[:2], bool)]), 5, flat)
    assert one.track_id == same.track_id
    for size in ((1, 1), (5, 3), (40, 2)):
        tiny = as_regions([np.ones(size, bool)])
        tracker = Tracker()
        images = [np.full((*size, 3), level, np.uint8) for level in (0, 0, 200)]
        for second, image in enumerate(images):
            assert len(update(tracker, tiny, second, image)) == 1


def test_a_mask_of_another_size_is_refused():
    image, _ = scene()
    wrong = as_regions([np.ones((10, 12), bool)])
    with pytest.raises(ValueError, match="12x10 pixels in an image of 640x480"):
        update(Tracker(), wrong, 1, image)


# -- properties ---------------------------------------------------------------------------------


def track_ids(orders):
    """The track id of every mask in each frame, with the regions in these orders."""
    tracker = Tracker()
    found = []
    for frame, order in zip(moving_frames(), orders, strict=True):
        regions = [frame.regions[index] for index in order]
        tracked = tracker.update(regions, frame.image, frame.stamp_ns, SETTINGS)
        assert [one.rle for one in tracked] == [one.rle for one in regions]
        assert len(set(ids(tracked))) == len(tracked)
        found.append({region.rle.counts: region.track_id for region in tracked})
        describe(tracker, tracked, frame.stamp_ns)
    return found


@settings(max_examples=8)
@given(data=st.data())
def test_the_order_of_the_regions_does_not_matter(data):
    straight = [range(len(frame.regions)) for frame in moving_frames()]
    shuffled = [data.draw(st.permutations(order)) for order in straight]
    assert track_ids(shuffled) == track_ids(straight)


def number_of(track_id):
    """The number that a track id encodes in Crockford's base 32."""
    python_digits = str.maketrans("jkmnpqrstvwxyz", "ijklmnopqrstuv")
    return int(track_id[1:].translate(python_digits), 32)


@settings(max_examples=12)
@given(seed=st.integers(0, 2**32 - 1), max_lost=st.integers(0, 12), keep_lost_s=st.integers(0, 9))
def test_memory_is_bounded_and_no_id_is_given_twice(seed, max_lost, keep_lost_s):
    rng = np.random.default_rng(seed)
    tracker, known, last = Tracker(), set(), set()
    limits = {"max_lost": max_lost, "keep_lost_s": keep_lost_s}
    for second in range(1, 9):
        masks = []
        for _ in range(rng.integers(0, 8)):
            mask = np.zeros((60, 80), bool)
            x, y = rng.integers(0, 70), rng.integers(0, 50)
            mask[y : y + rng.integers(2, 30), x : x + rng.integers(2, 30)] = True
            masks.append(mask)
        # In some frames a mask is there twice, and some frames are cuts.
        masks += masks[: rng.integers(0, 2)]
        image = rng.integers(0, 256, (60, 80, 3), dtype=np.uint8)
        if rng.random() < 0.7:
            image = cv2.blur(np.roll(cv2.resize(scene()[0], (80, 60)), second, axis=1), (3, 3))
        now = ids(update(tracker, as_regions(masks), second, image, **limits))
        assert len(set(now)) == len(now) == len(masks)
        assert len(tracker) <= len(now) + max_lost
        fresh = set(now) - known
        numbers = [number_of(track_id) for track_id in fresh]
        assert min(numbers, default=10**9) > max(last, default=0)
        known |= fresh
        last |= set(numbers)


def test_the_same_frames_give_the_same_ids():
    straight = [range(len(frame.regions)) for frame in moving_frames()]
    assert track_ids(straight) == track_ids(straight)
