"""Mask clean-up: properties of every mask, with scipy as reference, and examples."""

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


def mask_of(text):
    return np.array([[character == "#" for character in line] for line in text.split()])


def areas(mask):
    """The areas of the 8-connected components, by scipy."""
    labels, count = ndimage.label(mask, np.ones((3, 3)))
    return sorted(np.bincount(labels.ravel(), minlength=count + 1)[1:].tolist())


@given(MASKS, AREAS)
def test_dropping_specks_keeps_the_larger_components(mask, area):
    cleaned = drop_specks(mask, area)
    assert not (cleaned & ~mask).any()
    assert areas(cleaned) == [size for size in areas(mask) if size > area]


@given(MASKS, AREAS)
def test_filling_holes_keeps_the_larger_holes(mask, area):
    filled = fill_holes(mask, area)
    assert not (mask & ~filled).any()
    if mask.any():
        assert areas(~filled) == [size for size in areas(~mask) if size > area]
    else:
        assert not filled.any()


@given(MASKS)
def test_only_the_largest_component_is_kept(mask):
    kept = keep_largest(mask)
    assert not (kept & ~mask).any()
    assert areas(kept) == areas(mask)[-1:]


@given(MASKS, AREAS, AREAS, st.booleans())
def test_a_cleaned_mask_has_no_specks_and_at_most_one_component_if_set(mask, hole, speck, largest):
    before = mask.copy()
    cleaned = clean(mask, fill_holes_area=hole, drop_specks_area=speck, largest_component=largest)
    assert np.array_equal(mask, before), "the input was changed"
    assert cleaned.dtype == np.bool_
    assert cleaned.shape == mask.shape
    assert all(size > speck for size in areas(cleaned))
    assert not largest or len(areas(cleaned)) <= 1


@given(MASKS)
def test_with_all_steps_off_the_mask_is_unchanged(mask):
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
    assert np.array_equal(clean(mask_of(RING), **{**none, **settings}), mask_of(expected))


def test_pixels_that_touch_at_a_corner_are_connected():
    diagonal = mask_of("#. .#")
    assert np.array_equal(drop_specks(diagonal, 1), diagonal)


def test_the_first_of_equal_components_is_kept():
    assert np.array_equal(keep_largest(mask_of("#.# ...")), mask_of("#.. ..."))
