"""Mask clean-up: what holds for every mask, against scipy's labelling, and by example."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from scipy import ndimage

from deep_perception.segmenters.sam2.mask_cleanup import (
    clean,
    drop_specks,
    fill_holes,
    keep_largest,
)

MASKS = arrays(np.bool_, array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=20))
AREAS = st.integers(0, 30)


def picture(text):
    return np.array([[character == "#" for character in line] for line in text.split()])


def areas(mask):
    """Areas of the 8-connected pieces, by another implementation."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return sorted(np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist())


@given(MASKS, AREAS)
def test_dropping_specks_leaves_the_larger_pieces_alone(mask, area):
    cleaned = drop_specks(mask, area)
    assert not (cleaned & ~mask).any()
    assert areas(cleaned) == [each for each in areas(mask) if each > area]


@given(MASKS, AREAS)
def test_filling_holes_leaves_the_larger_ones_alone(mask, area):
    filled = fill_holes(mask, area)
    assert not (mask & ~filled).any()
    if mask.any():
        assert areas(~filled) == [each for each in areas(~mask) if each > area]
    else:
        assert not filled.any()


@given(MASKS)
def test_the_largest_piece_is_one_of_the_pieces(mask):
    kept = keep_largest(mask)
    assert not (kept & ~mask).any()
    assert areas(kept) == areas(mask)[-1:]


@given(MASKS, AREAS, AREAS, st.booleans())
def test_cleaning_is_settled_by_the_last_step(mask, hole, speck, largest):
    before = mask.copy()
    cleaned = clean(mask, fill_holes_area=hole, drop_specks_area=speck, largest_component=largest)
    assert np.array_equal(mask, before), "the input was changed"
    assert cleaned.dtype == np.bool_
    assert cleaned.shape == mask.shape
    assert all(each > speck for each in areas(cleaned))
    assert not largest or len(areas(cleaned)) <= 1


@given(MASKS)
def test_nothing_is_done_by_default(mask):
    same = clean(mask, fill_holes_area=0, drop_specks_area=0, largest_component=False)
    assert np.array_equal(same, mask)


RING = """
    .........
    .####....
    .#..#..#.
    .####....
    .........
"""


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({"fill_holes_area": 1}, RING),
        ({"fill_holes_area": 2}, RING.replace("#..#..#", "####..#")),
        ({"drop_specks_area": 1}, RING.replace("#..#..#", "#..#...")),
        ({"largest_component": True}, RING.replace("#..#..#", "#..#...")),
        ({"fill_holes_area": 2, "drop_specks_area": 11}, RING.replace("#..#..#", "####...")),
        ({"drop_specks_area": 11}, RING.replace("#", ".")),
    ],
)
def test_a_ring_with_a_hole_of_two_and_a_speck_of_one(settings, expected):
    none = {"fill_holes_area": 0, "drop_specks_area": 0, "largest_component": False}
    assert np.array_equal(clean(picture(RING), **{**none, **settings}), picture(expected))


def test_pieces_that_touch_at_a_corner_are_one():
    diagonal = picture("#. .#")
    assert np.array_equal(drop_specks(diagonal, 1), diagonal)


def test_of_equal_pieces_the_first_is_kept():
    assert np.array_equal(keep_largest(picture("#.# ...")), picture("#.. ..."))
