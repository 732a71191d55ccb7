"""A stream of pictures: identity, words that hold, and only what changed is swept again."""

import numpy as np
import pytest

from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings.options import settings_from
from deep_perception.stream import Stream, unchanged_regions
from support.describers import ComesBack  # its describer is away at first

SECOND = 1_000_000_000


def room(*, person_x=None, seed=3):
    """A textured wall with three things on it, and a person before it."""
    generator = np.random.default_rng(seed)
    image = np.full((240, 320, 3), (190, 180, 170), np.uint8)
    image[:, :, :] += generator.integers(0, 12, image.shape[:2], dtype=np.uint8)[..., None]
    for x, y, color in (
        (20, 30, (30, 30, 200)),
        (230, 40, (30, 160, 30)),
        (40, 160, (160, 40, 30)),
    ):
        image[y : y + 50, x : x + 60] = color
        image[y + 10 : y + 20, x + 10 : x + 50] = (230, 230, 230)
    if person_x is not None:
        image[70:230, person_x : person_x + 50] = (20, 20, 20)
        image[70:105, person_x + 10 : person_x + 40] = (140, 170, 220)
    return image


class Counting(Attributes):
    """Numbers its descriptions, so that a test can tell new ones from old ones."""

    name = "counting"
    calls = 0

    def describe(self, image, regions):
        for region in regions:
            Counting.calls += 1
            text = f"Words {Counting.calls}."
            yield (
                region,
                Description(status="described", label="thing", text=text, describer=self.name),
            )


class Watched(Superpixels):
    """Counts the points that it is prompted with."""

    asked = 0

    def masks(self, embedding, points):
        Watched.asked += len(points)
        return super().masks(embedding, points)


@pytest.fixture
def analyzer():
    Counting.calls = Watched.asked = 0
    settings = settings_from(
        {
            "describer.backend": f"{__name__}:Counting",
            "segmenter.backend": f"{__name__}:Watched",
            "keyframes.min_interval_s": 0.0,
        }
    )
    with Analyzer(settings) as made:
        yield made


def show(stream, analyzer, image, second, *, seen=None, requested=True):
    """Analyse an image: as a requested keyframe, or only if it is one."""
    if requested:
        stream.keyframes.request()
    selected = stream.select(int(second * SECOND), lambda: image, analyzer.settings.keyframes)
    if selected is None:
        return None
    callbacks = Callbacks(on_region=seen.append) if seen is not None else None
    return stream.analyze(analyzer, selected, analyzer.settings, callbacks)


def test_an_unchanged_view_is_not_described_again(analyzer):
    stream, seen = Stream(), []
    first = show(stream, analyzer, room(), 1)
    assert Counting.calls == len(first.regions) > 3
    assert {each.description.status for each in first.regions} == {"described"}
    assert len({each.track_id for each in first.regions}) == len(first.regions)
    again = show(stream, analyzer, room(seed=4), 2, seen=seen)
    assert Counting.calls == len(first.regions)
    assert {each.description.status for each in again.regions} == {"reused"}
    assert sorted(each.index for each in seen) == [each.index for each in again.regions]
    before = {each.track_id: each for each in first.regions}
    for each in again.regions:
        assert each.description.text == before[each.track_id].description.text
        assert each.first_seen_ns == each.last_described_ns == SECOND
        assert each.revision == 0
    assert again.complete


def test_region_updates_carry_the_track_id(analyzer):
    stream, seen = Stream(), []
    scene = show(stream, analyzer, room(), 1, seen=seen)
    assert {each.track_id for each in seen} == {each.track_id for each in scene.regions}


def test_unchanged_regions_are_not_swept_again(analyzer):
    """A person comes in: after two frames that show it, only that part is swept again."""
    stream = Stream()
    first = show(stream, analyzer, room(), 1, requested=False)
    assert show(stream, analyzer, room(person_x=130), 2, requested=False) is None
    image = room(person_x=130)
    selected = stream.select(3 * SECOND, lambda: image, analyzer.settings.keyframes)
    assert selected.decision.reason == "local"
    Counting.calls = Watched.asked = 0
    kept = unchanged_regions(first.regions, selected.decision.changed)
    assert kept
    scene = stream.analyze(analyzer, selected, analyzer.settings)
    asked, calls = Watched.asked, Counting.calls
    assert 0 < calls <= len(scene.regions) - len(kept)
    analyzer.analyze(image)
    assert asked < Watched.asked - asked
    masks = {each.track_id: each.mask for each in first.regions}
    same = [
        each for each in scene.regions
        if each.track_id in masks and np.array_equal(each.mask, masks[each.track_id])
    ]  # fmt: skip
    assert len(same) >= len(kept)
    assert [each.index for each in scene.regions] == list(range(1, len(scene.regions) + 1))
    assert any(each.track_id not in masks for each in scene.regions)
    assert scene.coverage > 0.9


def test_a_scene_that_is_cancelled_when_it_is_complete_is_no_scene(analyzer, monkeypatch):
    """The frame does not count as a keyframe: the next one is the first again."""
    stream, complete = Stream(), []
    analyze = analyzer.analyze

    def cancelled_at_the_end(*arguments, **options):
        complete.append(analyze(*arguments, **options))
        return complete[-1]

    monkeypatch.setattr(analyzer, "analyze", cancelled_at_the_end)
    selected = stream.select(SECOND, room, analyzer.settings.keyframes)
    with pytest.raises(Cancelled):
        stream.analyze(
            analyzer, selected, analyzer.settings, Callbacks(is_cancelled=lambda: bool(complete))
        )
    again = stream.select(2 * SECOND, room, analyzer.settings.keyframes)
    assert again.decision.reason == "first"


def test_other_settings_sweep_the_whole_image_again(analyzer):
    stream = Stream()
    show(stream, analyzer, room(), 1, requested=False)
    show(stream, analyzer, room(person_x=130), 2, requested=False)
    analyzer.settings = settings_from({"points.grid_rows": 10}, analyzer.settings)
    before = Watched.asked
    scene = show(stream, analyzer, room(person_x=130), 3, requested=False)
    fresh = Analyzer(analyzer.settings).analyze(room(person_x=130))
    assert Watched.asked - before > 0
    assert [each.box for each in scene.regions] == [each.box for each in fresh.regions]


def test_time_that_goes_back_is_a_new_start(analyzer):
    stream = Stream()
    first = show(stream, analyzer, room(), 100)
    again = show(stream, analyzer, room(), 1)
    assert Counting.calls == len(first.regions) + len(again.regions)
    assert not {each.track_id for each in again.regions} & {each.track_id for each in first.regions}
    assert {each.first_seen_ns for each in again.regions} == {SECOND}


def test_a_keyframe_that_failed_is_tried_again(analyzer):
    stream = Stream()

    def fail(region):
        raise KeyError("user")

    selected = stream.select(SECOND, room, analyzer.settings.keyframes)
    with pytest.raises(KeyError):
        stream.analyze(analyzer, selected, analyzer.settings, Callbacks(on_region=fail))
    again = stream.select(2 * SECOND, room, analyzer.settings.keyframes)
    assert again.decision.reason == "first"
    scene = stream.analyze(analyzer, again, analyzer.settings)
    assert all(each.description.text for each in scene.regions)


def test_descriptions_of_the_fallback_are_reused_and_then_replaced():
    ComesBack.available = False
    settings = settings_from(
        {"describer.backend": "support.describers:ComesBack", "describer.describe_again": 2}
    )
    stream = Stream()
    with Analyzer(settings) as analyzer:
        first = show(stream, analyzer, room(), 1)
        assert {each.description.describer for each in first.regions} == {"attributes"}
        carried = show(stream, analyzer, room(), 2)
        assert {each.description.status for each in carried.regions} == {"reused"}
        ComesBack.available = True
        better = show(stream, analyzer, room(), 3)
        ours = [r for r in better.regions if r.description.describer == "comes-back"]
        assert [each.area for each in sorted(ours, key=lambda r: -r.area)] == sorted(
            (each.area for each in better.regions), reverse=True
        )[:2]
        assert {each.revision for each in ours} == {1}
        # The others follow at the next keyframes.
        last = better
        for second in range(4, 4 + len(better.regions)):
            last = show(stream, analyzer, room(), second)
        assert {each.description.status for each in last.regions} == {"reused"}
        assert {each.description.describer for each in last.regions} == {"comes-back"}


def test_regions_near_a_changed_tile_are_not_unchanged(analyzer):
    scene = analyzer.analyze(room())
    tiles = np.zeros((12, 16), bool)
    assert len(unchanged_regions(scene.regions, tiles)) == len(scene.regions)
    tiles[:] = True
    assert unchanged_regions(scene.regions, tiles) == []
    assert unchanged_regions([], tiles) == []


def test_max_regions_counts_the_regions_of_the_scene(analyzer):
    analyzer.settings = settings_from({"sweep.max_regions": 4}, analyzer.settings)
    stream = Stream()
    first = show(stream, analyzer, room(), 1, requested=False)
    assert len(first.regions) == 4
    for heartbeat in range(1, 4):
        scene = show(stream, analyzer, room(), 1 + 40 * heartbeat, requested=False)
        assert len(scene.regions) == 4


def test_descriptions_that_name_places_are_not_reused():
    """`attributes` is the describer, or the fallback of one that is unavailable."""
    away = {"describer.backend": "chat", "describer.url": "http://127.0.0.1:9/v1"}
    for changes in ({}, away):
        stream = Stream()
        with Analyzer(settings_from(changes)) as analyzer:
            first = show(stream, analyzer, room(), 1)
            second = show(stream, analyzer, np.roll(room(), 24, axis=1), 2)
        for scene in (first, second):
            assert {each.description.status for each in scene.regions} == {"described"}
        assert {r.track_id for r in first.regions} & {r.track_id for r in second.regions}
