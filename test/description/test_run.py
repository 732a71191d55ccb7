"""Descriptions made during the sweep: order, deadline, superseding, spelling, and later ones."""

import threading
import time
from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception import masks
from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.describers.attributes import Attributes
from deep_perception.description.run import PendingRegions
from deep_perception.label_spelling import unify_spelling
from deep_perception.points import Point
from deep_perception.regions import Description, Region
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings.options import settings_from
from support.describers import ComesBack

SIZE = 64


def shapes():
    image = np.full((240, 320, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    image[20:60, 200:260] = (160, 40, 160)
    return image


def region(index, area, label=""):
    mask = np.zeros((SIZE, SIZE), np.bool_)
    mask.flat[:area] = True
    found = Region.from_mask(
        index=index, point=Point(0, 0, "grid"), mask=mask, score=1.0, source=masks.size_of(mask)
    )
    if not label:
        return found
    return found.described(Description(status="described", label=label, text=f"A {label}."))


# -- the order ----------------------------------------------------------------------------------


@given(st.lists(st.integers(1, SIZE * SIZE), max_size=12), st.integers(0, 12))
def test_the_largest_pending_region_is_next(areas, early):
    waiting = PendingRegions()
    for index, area in enumerate(areas[:early]):
        waiting.add(region(index, area))
    taken = [next(waiting).area for _ in areas[:early]]
    assert taken == sorted(areas[:early], reverse=True)
    for index, area in enumerate(areas[early:]):
        waiting.add(region(index, area))
    waiting.end()
    assert [each.area for each in waiting] == sorted(areas[early:], reverse=True)


def test_iterating_waits_for_the_sweep_and_ends_with_it():
    waiting, taken = PendingRegions(), []
    reader = threading.Thread(target=lambda: taken.extend(waiting))
    reader.start()
    waiting.add(region(1, 5))
    while not taken:
        time.sleep(0.01)
    assert reader.is_alive()
    waiting.end()
    reader.join(10)
    assert [each.index for each in taken] == [1]


# -- deadline, giving way, stopping -------------------------------------------------------------


class OneByOne(Attributes):
    """Describes the first regions, and then waits for the gate of the test."""

    name = "one-by-one"
    quick, gate, closed = 2, threading.Event(), 0

    def describe(self, image, regions):
        try:
            for count, each in enumerate(regions):
                while count >= self.quick and not OneByOne.gate.is_set():
                    time.sleep(0.01)
                    yield None
                words = Description(
                    status="described", label="thing", text="A thing.", describer=self.name
                )
                yield each, words
        finally:
            OneByOne.closed += 1


@pytest.fixture
def gate():
    OneByOne.gate = threading.Event()
    OneByOne.closed = 0
    return OneByOne.gate


def analyzer(**changes):
    return Analyzer(
        settings_from(
            {"describer.backend": f"{__name__}:OneByOne"}
            | {f"describer.{name}": value for name, value in changes.items()}
        )
    )


def statuses(scene):
    return Counter(each.description.status for each in scene.regions)


def test_at_the_deadline_the_scene_is_returned_with_pending_regions(gate):
    seen = []
    with analyzer(scene_deadline_s=0.5) as ours:
        scene = ours.analyze(shapes(), callbacks=Callbacks(on_region=seen.append))
        assert statuses(scene) == {"described": 2, "pending": len(scene.regions) - 2}
        assert len(scene.regions) > 3
        assert not scene.complete
        assert len(seen) == 2
        assert OneByOne.closed == 1
        # And later the rest.
        gate.set()
        rest = ours.undescribed_regions(scene, 0)
        assert {each.index for each in rest} == {
            each.index for each in scene.regions if each.description.status == "pending"
        }
        whole = ours.describe_again(
            shapes(), scene, rest, callbacks=Callbacks(on_region=seen.append)
        )
    assert statuses(whole) == {"described": len(scene.regions)}
    assert whole.complete
    assert len(seen) == len(scene.regions)


def test_a_superseded_scene_is_returned_as_it_is(gate):
    seen = []
    with analyzer() as ours:
        scene = ours.analyze(
            shapes(),
            callbacks=Callbacks(on_region=seen.append, is_superseded=lambda: len(seen) == 2),
        )
    assert statuses(scene) == {"described": 2, "pending": len(scene.regions) - 2}


def test_a_describer_is_stopped_when_the_analysis_is_cancelled(gate):
    seen = []
    with analyzer() as ours, pytest.raises(Cancelled):
        ours.analyze(
            shapes(),
            callbacks=Callbacks(on_region=seen.append, is_cancelled=lambda: len(seen) == 2),
        )
    assert OneByOne.closed == 1
    assert not [each for each in threading.enumerate() if each.name == "describer"]


class AtOnce(Attributes):
    """All descriptions arrive before the analysis waits for them."""

    name = "at-once"
    there = threading.Event()

    def describe(self, image, regions):
        yield from super().describe(image, regions)
        AtOnce.there.set()


def test_results_that_arrived_before_a_superseding_frame_are_kept():
    settings = settings_from({"describer.backend": f"{__name__}:AtOnce"})
    AtOnce.there.clear()
    with Analyzer(settings) as ours:
        # Looked at once the describer has ended.
        scene = ours.analyze(
            shapes(), callbacks=Callbacks(is_superseded=lambda: AtOnce.there.wait(30))
        )
    assert statuses(scene) == {"described": len(scene.regions)}


# -- unloading ----------------------------------------------------------------------------------


class Clumsy(Attributes):
    name = "clumsy"
    closed = 0

    def close(self):
        Clumsy.closed += 1
        raise OSError("already gone")


class ClumsySegmenter(Superpixels):
    def close(self):
        raise OSError("already gone, too")


def test_a_backend_that_fails_to_close_does_not_keep_the_other_loaded(caplog):
    Clumsy.closed = 0
    settings = settings_from(
        {
            "describer.backend": f"{__name__}:Clumsy",
            "segmenter.backend": f"{__name__}:ClumsySegmenter",
        }
    )
    with Analyzer(settings) as ours:
        ours.models.unload()
        assert Clumsy.closed == 1
        assert not ours.models.loaded
        assert ours.analyze(shapes()).regions
    assert Clumsy.closed == 2
    assert "already gone, too" in caplog.text


# -- better words -------------------------------------------------------------------------------


def test_descriptions_of_the_fallback_are_replaced_largest_first_up_to_the_limit():
    settings = settings_from({"describer.backend": "support.describers:ComesBack"})
    ComesBack.available = False
    with Analyzer(settings) as ours:
        scene = ours.analyze(shapes())
        assert {each.description.describer for each in scene.regions} == {"attributes"}
        assert ours.undescribed_regions(scene, 2) == []
        ComesBack.available = True
        again = ours.undescribed_regions(scene, 2)
        assert [each.area for each in again] == sorted(
            (each.area for each in scene.regions), reverse=True
        )[:2]
        better = ours.describe_again(shapes(), scene, again)
        describers = {each.index: each.description.describer for each in better.regions}
        assert Counter(describers.values()) == {
            "comes-back": 2, "attributes": len(scene.regions) - 2,
        }  # fmt: skip
        # Gone again: what was good stays.
        ComesBack.available = False
        same = ours.describe_again(shapes(), better, better.regions)
    assert [each.description for each in same.regions] == [
        each.description for each in better.regions
    ]


# -- one spelling -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("labels", "expected"),
    [
        (["coffee mug", "Coffee mug", "coffee mug"], ["coffee mug"] * 3),  # the most frequent
        (["coffee-mug", "coffee mug"], ["coffee-mug"] * 2),  # the first of equals
        (["The red cup", "red cup", "red cup."], ["The red cup"] * 3),
        (["grey wall", "gray wall", "gray wall"], ["gray wall"] * 3),
        (["cup", "cups"], ["cup", "cups"]),  # one is not many
        (["the", ""], ["the", ""]),
        (["日本", "日本"], ["日本", "日本"]),
        # Marks, digits and symbols tell two things apart, in any script.
        (["केला", "कील"], ["केला", "कील"]),
        (["คู", "ค่า"], ["คู", "ค่า"]),
        (["கை", "கா"], ["கை", "கா"]),
        (["עֵד", "עַד"], ["עֵד", "עַד"]),
        (["か", "が"], ["か", "が"]),
        (["Buße", "Busse"], ["Buße", "Busse"]),
        (["C++ book", "C# book", "C book"], ["C++ book", "C# book", "C book"]),
        (
            ["+ button", "- button", "← button", "→ button"],
            ["+ button", "- button", "← button", "→ button"],
        ),
        (["-40 °C sign", "40 °C sign"], ["-40 °C sign", "40 °C sign"]),
        (["😀 sticker", "😢 sticker"], ["😀 sticker", "😢 sticker"]),
        (["cafe\u0301", "café", "Café"], ["cafe\u0301"] * 3),
        (["Kaffee\u00adtasse", "Kaffeetasse", "Kaffeetasse"], ["Kaffeetasse"] * 3),
        (["نیم\u200cفنجان", "نیم فنجان"], ["نیم\u200cفنجان"] * 2),
        (["❤️ pillow", "❤ pillow"], ["❤️ pillow"] * 2),
    ],
)
def test_one_spelling_in_a_scene(labels, expected):
    regions = [region(i, 9, label) if label else region(i, 9) for i, label in enumerate(labels)]
    assert [each.description.label for each in unify_spelling(regions)] == expected


@given(st.lists(st.text(max_size=12), max_size=8))
def test_spelling_twice_changes_nothing(labels):
    regions = [
        region(i, 9, label) if label.strip() else region(i, 9) for i, label in enumerate(labels)
    ]
    once = unify_spelling(regions)
    assert [each.description for each in unify_spelling(once)] == [
        each.description for each in once
    ]
    assert [each.index for each in once] == list(range(len(labels)))
