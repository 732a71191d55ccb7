"""How long the description of a tracked region is reused."""

import numpy as np
import pytest

from deep_perception.description import regions_to_describe
from deep_perception.regions import Description
from deep_perception.tracking.tracker import Tracker
from support.tracking import (
    SETTINGS,
    at_stamp,
    describe,
    description,
    ids,
    scene,
    statuses,
    update,
)
from synthetic.moving_scenes import as_regions


def test_an_unchanged_scene_needs_no_second_description():
    _, regions = scene()
    tracker = Tracker()
    first = describe(tracker, update(tracker, regions, 1), at_stamp(1))
    assert statuses(first) == {"described"}
    for second in range(2, 62):
        tracked = update(tracker, regions, second)
        assert statuses(tracked) == {"reused"}
    for one, last in zip(first, tracked, strict=True):
        assert last.description.text == one.description.text
        assert (last.track_id, last.first_seen_ns) == (one.track_id, at_stamp(1))
        assert (last.last_described_ns, last.revision) == (at_stamp(1), 0)


def test_descriptions_expire():
    _, regions = scene()
    tracker = Tracker()
    describe(tracker, update(tracker, regions, 1), at_stamp(1))
    assert statuses(update(tracker, regions, 30, words_ttl_s=30)) == {"reused"}
    assert statuses(update(tracker, regions, 31, words_ttl_s=30)) == {"pending"}
    assert statuses(update(tracker, regions, 31, words_ttl_s=0)) == {"pending"}


@pytest.mark.parametrize("gain", [0.7, 1.3])
@pytest.mark.parametrize("offset", [-15, 0, 15])
def test_descriptions_and_ids_are_kept_when_the_exposure_changes(gain, offset):
    image, regions = scene()
    tracker = Tracker()
    first = describe(tracker, update(tracker, regions, 1), at_stamp(1))
    exposed = np.clip(image * gain + offset, 0, 255).astype(np.uint8)
    second = update(tracker, regions, 2, exposed)
    assert [one.track_id for one in second] == [one.track_id for one in first]
    reused = [region.description.status == "reused" for region in second]
    assert np.mean(reused) >= 0.9


def test_a_description_is_not_reused_for_another_content_in_the_same_place():
    image, regions = scene()
    tracker = Tracker()
    describe(tracker, update(tracker, regions, 1), at_stamp(1))
    largest = max(regions, key=lambda region: region.area)
    changed = image.copy()
    changed[largest.mask] = (60, 200, 40)
    second = update(tracker, regions, 2, changed)
    assert second[largest.index - 1].description.status == "pending"
    others = [region for region in second if region.index != largest.index]
    assert np.mean([region.description.status == "reused" for region in others]) > 0.85


def test_a_description_is_not_reused_for_another_area_until_the_area_is_back():
    _, regions = scene()
    tracker = Tracker()
    whole = max(regions, key=lambda region: region.area)
    part = whole.mask.copy()
    rows = np.flatnonzero(part.any(axis=1))
    part[: rows[int(0.45 * len(rows))]] = False
    assert part.sum() < 0.65 * whole.mask.sum()
    (part,) = as_regions([part])
    first = describe(tracker, update(tracker, [whole], 1), at_stamp(1), "whole")
    second = describe(tracker, update(tracker, [part], 2), at_stamp(2), "part")
    assert second[0].track_id == first[0].track_id
    assert (second[0].description.text[:4], second[0].revision) == ("part", 1)
    third = update(tracker, [whole], 3)[0]
    assert (third.description.status, third.description.text[:5]) == ("reused", "whole")
    assert (third.last_described_ns, third.revision) == (at_stamp(1), 2)


def test_failed_and_missing_descriptions_are_pending_at_the_next_keyframe():
    _, regions = scene()
    tracker = Tracker()
    first = update(tracker, regions, 1)
    failed = Description(status="failed", error="no server", describer="chat")
    published = tracker.store_description(first[0].described(failed), at_stamp(1))
    assert published.description.error == "no server" and published.last_described_ns == 0
    assert statuses(update(tracker, regions, 2)) == {"pending"}


def test_descriptions_of_a_fallback_are_reused_and_described_again_after_pending_ones():
    _, regions = scene()
    tracker = Tracker()
    regions = sorted(regions, key=lambda region: region.area)[-6:]
    first = update(tracker, regions, 1)
    for region in first[:4]:
        writer = "attributes" if region in first[:3] else "chat"
        tracker.store_description(region.described(description(describer=writer)), at_stamp(1))
    second = update(tracker, regions, 2)
    assert [region.description.status for region in second] == ["reused"] * 4 + ["pending"] * 2
    order = regions_to_describe(second, "chat", len(second))
    assert order == [second[5], second[4], second[2], second[1], second[0]]
    assert regions_to_describe(second, "attributes", len(second)) == [
        second[5],
        second[4],
        second[3],
    ]


def test_the_revision_counts_changes_of_the_description():
    _, regions = scene()
    tracker = Tracker()
    revisions = []
    for second, text in enumerate(["a", "a", "b", "b", "a"], start=1):
        (region,) = update(tracker, regions[:1], second, words_ttl_s=0)
        published = tracker.store_description(region.described(description(text)), at_stamp(second))
        revisions.append(published.revision)
        assert published.last_described_ns == at_stamp(second)
    assert revisions == [0, 0, 1, 1, 2]


def test_a_late_description_is_published_but_not_reused():
    _, regions = scene()
    tracker = Tracker()
    (early,) = update(tracker, regions[:1], 1)
    update(tracker, regions[:1], 2)
    late = tracker.store_description(early.described(description()), at_stamp(1))
    assert late.last_described_ns == at_stamp(1)
    assert statuses(update(tracker, regions[:1], 3)) == {"pending"}


def test_a_region_that_may_not_be_reused_never_is():
    _, regions = scene()
    tracker = Tracker()
    association = tracker.associate(scene()[0], at_stamp(1), SETTINGS)
    assert not any(association.may_reuse(region) for region in regions)
    describe(tracker, association.finish(regions), at_stamp(1))
    shifted = as_regions([np.roll(region.mask, 60, axis=1) for region in regions])
    association = tracker.associate(scene()[0], at_stamp(2), SETTINGS)
    may = [association.may_reuse(region) for region in shifted]
    tracked = association.finish(shifted)
    reused = [region.description.status == "reused" for region in tracked]
    assert all(before or not after for before, after in zip(may, reused, strict=True))
    assert not all(may)


def test_a_cancelled_keyframe_changes_nothing():
    image, regions = scene()
    one, other = Tracker(), Tracker()
    for tracker in (one, other):
        describe(tracker, update(tracker, regions, 1), at_stamp(1))
    one.associate(image[::-1].copy(), at_stamp(2), SETTINGS).may_reuse(regions[0])
    after_cancel, without = (update(tracker, regions, 3) for tracker in (one, other))
    assert ids(after_cancel) == ids(without)
    assert [r.description.status for r in after_cancel] == [r.description.status for r in without]
