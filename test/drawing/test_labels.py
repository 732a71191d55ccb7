"""The places of labels: none over another, all inside, beside small things."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_perception.drawing import labels
from deep_perception.drawing.labels import Layout, Thing
from deep_perception.masks import Box, Size

CANVAS = Size(300, 200)


def thing(x1, y1, x2, y2):
    box = Box(x1, y1, x2, y2)
    mask = np.ones((box.height, box.width), bool)
    return Thing(box=box, mask=mask, point=((x1 + x2) // 2, (y1 + y2) // 2))


def apart(one, other):
    return one.x2 <= other.x1 or other.x2 <= one.x1 or one.y2 <= other.y1 or other.y2 <= one.y1


def inside(box, canvas):
    return box.x1 >= 0 and box.y1 >= 0 and box.x2 <= canvas.width and box.y2 <= canvas.height


def gap_between(one, other):
    across = max(one.x1 - other.x2, other.x1 - one.x2, 0)
    down = max(one.y1 - other.y2, other.y1 - one.y2, 0)
    return np.hypot(across, down)


@st.composite
def boxes(draw):
    x1, y1 = draw(st.integers(0, CANVAS.width - 2)), draw(st.integers(0, CANVAS.height - 2))
    x2, y2 = draw(st.integers(x1 + 1, CANVAS.width)), draw(st.integers(y1 + 1, CANVAS.height))
    return thing(x1, y1, x2, y2)


@given(
    st.lists(
        st.tuples(boxes(), st.builds(Size, st.integers(5, 90), st.integers(5, 25))), max_size=20
    )
)
@settings(deadline=None)
def test_labels_never_overlap_and_stay_inside(wanted):
    layout = Layout(CANVAS, [each for each, _ in wanted])
    placed = []
    for each, size in wanted:
        box = layout.place(each, size, gap=4)
        if box is None:
            continue
        assert (box.width, box.height) == size
        assert inside(box, CANVAS)
        assert all(apart(box, other) for other in placed)
        placed.append(box)


@pytest.mark.parametrize("side", [1, 4, 12, 30])
@pytest.mark.parametrize("x", [0, 60, 150, 269])
@pytest.mark.parametrize("y", [0, 40, 100, 169])
def test_a_label_is_beside_a_small_thing(x, y, side):
    """In the corners of the image as well: it is near and covers nothing of it."""
    small = thing(x, y, x + side, y + side)
    box = Layout(CANVAS, [small]).place(small, Size(60, 12), gap=4)
    assert apart(box, small.box)
    assert gap_between(box, small.box) <= 8


def test_a_label_of_a_large_thing_is_on_it_and_not_on_its_parts():
    sky, kite = thing(0, 0, 300, 120), thing(140, 50, 160, 70)
    layout = Layout(CANVAS, [sky, kite])
    of_kite = layout.place(kite, Size(40, 12), gap=4)
    of_sky = layout.place(sky, Size(40, 12), gap=4)
    for box in (of_kite, of_sky):
        assert apart(box, kite.box)
    assert of_sky.y2 <= 120
    assert apart(of_kite, of_sky)


def test_small_neighbours_are_not_covered():
    row = [thing(20 + 30 * number, 90, 36 + 30 * number, 106) for number in range(8)]
    layout = Layout(CANVAS, row)
    for each in row:
        box = layout.place(each, Size(45, 12), gap=3)
        assert all(apart(box, other.box) for other in row)
        assert gap_between(box, each.box) < 40


def test_a_full_image_has_no_place_for_a_label():
    whole, small = thing(0, 0, 30, 10), Size(30, 10)
    layout = Layout(small, [whole])
    assert layout.place(whole, Size(31, 10), gap=4) is None
    assert layout.place(whole, small, gap=4) == Box(0, 0, 30, 10)
    assert layout.place(whole, small, gap=4) is None


def test_labels_cover_a_part_of_the_image_only():
    canvas, size = Size(100, 100), Size(50, 10)
    # 500 px a label, so that a fifth of the image has room for four.
    chosen = labels.most([size] * 10, [5, 1, 9, 2, 8, 3, 7, 4, 6, 10], canvas)
    assert chosen == [9, 2, 4, 6]
    assert labels.most([Size(90, 90)], [1], canvas) == [0]
