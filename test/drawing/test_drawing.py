"""Annotated images: labels do not overlap and stay inside, and the input is not changed."""

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception import drawing
from deep_perception.analyzer import Analyzer
from deep_perception.drawing import labels
from deep_perception.masks import Size


def apart(one, other):
    return one.x2 <= other.x1 or other.x2 <= one.x1 or one.y2 <= other.y1 or other.y2 <= one.y1


@given(
    st.builds(Size, st.integers(20, 300), st.integers(12, 200)),
    st.lists(
        st.tuples(
            st.tuples(st.integers(0, 299), st.integers(0, 199)),
            st.builds(Size, st.integers(5, 90), st.integers(5, 25)),
        ),
        max_size=40,
    ),
)
def test_labels_never_overlap_and_stay_inside(canvas, wanted):
    placed = []
    for anchor, label in wanted:
        box = labels.place(anchor, label, canvas, placed)
        if box is None:
            continue
        assert (box.width, box.height) == label
        assert box.x1 >= 0
        assert box.y1 >= 0
        assert box.x2 <= canvas.width
        assert box.y2 <= canvas.height
        assert all(apart(box, other) for other in placed)
        placed.append(box)


def test_a_label_is_beside_its_point_if_there_is_room():
    box = labels.place((50, 50), Size(30, 10), Size(200, 100), [])
    assert box.x1 - 50 <= 10
    assert box.y1 <= 50 <= box.y2


def test_a_label_moves_if_its_position_is_taken():
    first = labels.place((50, 50), Size(30, 10), Size(200, 100), [])
    second = labels.place((50, 50), Size(30, 10), Size(200, 100), [first])
    assert apart(first, second)


def test_a_full_image_has_no_position_for_a_label():
    whole = labels.place((5, 5), Size(30, 10), Size(30, 10), [])
    assert labels.place((5, 5), Size(30, 10), Size(30, 10), [whole]) is None
    assert labels.place((5, 5), Size(31, 10), Size(30, 10), []) is None


def shapes(width=320, height=240):
    image = np.full((height, width, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    return image


def test_annotate_draws_on_a_copy_of_the_same_size():
    image = shapes()
    before = image.copy()
    scene = Analyzer().analyze(image)
    annotated = drawing.annotate(scene, image)
    assert annotated.shape == image.shape
    assert np.array_equal(image, before)
    for region in scene.regions:
        inside = region.source_mask()
        assert (annotated[inside] != image[inside]).any(axis=-1).mean() > 0.9, region.name


def test_the_prompt_point_has_the_colour_of_its_source():
    image = shapes()
    scene = Analyzer().analyze(image)
    annotated = drawing.annotate(scene, image)
    sources = set()
    for region in scene.regions:
        sources.add(region.point.source)
        color = annotated[region.point.y, region.point.x].tolist()
        assert color == list(drawing.SOURCE_COLORS[region.point.source]), region.name
    assert sources == {"contour", "grid"}


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        # Small images are enlarged.
        ((320, 240), 1920, (960, 720)),
        # Other images keep their size.
        ((1280, 720), 1920, (1280, 720)),
        # Large images are reduced, also below the minimum size if the limit is smaller.
        ((4000, 1000), 1920, (1920, 480)),
        ((320, 240), 640, (640, 480)),
        ((20_000, 10), 1000, (1000, 1)),
    ],
)
def test_size_of_images_for_people(size, max_side, expected):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    shown = drawing.for_people(image, max_side)
    assert (shown.shape[1], shown.shape[0]) == expected
    assert not np.shares_memory(shown, image)


def test_the_colour_of_a_tracked_region_does_not_depend_on_its_index():
    scene = Analyzer().analyze(np.full((48, 64, 3), 90, np.uint8))
    region = scene.regions[0]
    tracked = dataclasses.replace(region, track_id="t1f")
    again = dataclasses.replace(tracked, index=7)
    assert drawing.color_of(tracked) == drawing.color_of(again)
    assert drawing.color_of(region) != drawing.color_of(dataclasses.replace(region, index=7))
