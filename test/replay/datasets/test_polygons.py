"""Polygons against what pycocotools and OpenCV, which Ultralytics fills with, make of them."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial.distance import cdist

from deep_perception import images, masks
from deep_perception.analyzer import Analyzer
from deep_perception.masks import Box, Size
from deep_perception.replay.datasets.fill import fill, overlap
from deep_perception.replay.datasets.polygons import MIN_IOU, join, polygons

coco = pytest.importorskip("pycocotools.mask", reason="needs pycocotools (pip)")

DATA = Path(__file__).parents[2] / "data"
NOISE = hnp.arrays(np.bool_, hnp.array_shapes(min_dims=2, max_dims=2, max_side=20)).filter(np.any)
# The longer side of a picture with one pixel of tolerance.
UNIT = 640


@st.composite
def blobs(draw):
    """Boxes and discs of 3 to 40 pixels, some of them cut out again, in a small picture."""
    size = Size(draw(st.integers(8, 90)), draw(st.integers(8, 90)))
    canvas = np.zeros((size.height, size.width), np.uint8)
    for inside in [1, *draw(st.lists(st.integers(0, 1), max_size=4))]:
        x, y = draw(st.integers(0, size.width - 1)), draw(st.integers(0, size.height - 1))
        side = draw(st.integers(3, 40))
        if draw(st.booleans()):
            cv2.circle(canvas, (x, y), side // 2, inside, -1)
        else:
            cv2.rectangle(canvas, (x, y), (x + side, y + side), inside, -1)
    assume(canvas.any())
    return canvas > 0


@st.composite
def rings(draw):
    """Discs and rings of 1 to 40 pixels radius, as thin as one pixel."""
    radius, thickness = draw(st.integers(1, 40)), draw(st.sampled_from([-1, 1, 2, 3, 5]))
    side = 2 * radius + 12
    canvas = np.zeros((side, side), np.uint8)
    cv2.circle(canvas, (side // 2, side // 2), radius, 1, thickness)
    return canvas > 0


def parts_of(mask, longer_side=None):
    """The polygons of a mask, as of a region of a larger picture."""
    box = masks.box_of(mask)
    size = Size(longer_side, longer_side) if longer_side else masks.size_of(mask)
    return polygons(mask[box.y1 : box.y2, box.x1 : box.x2], box, size)


def filled_by_coco(parts, size):
    runs = coco.frPyObjects([part.reshape(-1).tolist() for part in parts], *size[::-1])
    return coco.decode(coco.merge(runs)).astype(bool)


def box_of(parts):
    low, high = np.min([p.min(0) for p in parts], 0), np.max([p.max(0) for p in parts], 0)
    return np.array([*low, *high])


@given(NOISE)
def test_an_outline_that_is_not_straightened_is_exact(mask):
    # So small that nothing is straightened.
    parts = parts_of(mask, longer_side=1)
    size = masks.size_of(mask)
    np.testing.assert_array_equal(filled_by_coco(parts, size), mask)
    # OpenCV draws the line to a hole, too: it may cross another hole.
    filled = fill(parts, size)
    assert not (mask & ~filled).any()
    holes = cv2.findContours(mask.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_NONE)[1]
    if (holes[0][:, 3] < 0).all():
        np.testing.assert_array_equal(filled, mask)


@given(NOISE | blobs() | rings(), st.sampled_from([None, UNIT, 3 * UNIT, 6 * UNIT]))
def test_a_straightened_outline_is_close_to_the_mask_and_inside_of_its_box(mask, longer_side):
    parts = parts_of(mask, longer_side)
    assert all(len(part) >= 3 and part.shape[1] == 2 for part in parts)
    assert all(np.isfinite(part).all() for part in parts)
    expected = np.array(masks.box_of(mask))
    found = box_of(parts)
    assert (found[:2] >= expected[:2]).all()
    assert (found[2:] <= expected[2:]).all()
    count, _ = cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)
    assert len(parts) == count - 1
    assert cv2.contourArea(parts[0].astype(np.float32)) > 0
    exact = fill(parts_of(mask, longer_side=1), masks.size_of(mask))
    filled = fill(parts, masks.size_of(mask))
    # What is exact where nothing is straightened can always be as close as is promised.
    assert overlap(filled, mask) >= min(MIN_IOU, overlap(exact, mask))
    assert overlap(filled_by_coco(parts, masks.size_of(mask)), mask) >= MIN_IOU


def ring(radius, thickness=0):
    canvas = np.zeros((2 * radius + 9, 2 * radius + 9), np.uint8)
    cv2.circle(canvas, (radius + 4, radius + 4), radius, 1, thickness or -1)
    return canvas > 0


@pytest.mark.parametrize("rows", [["11", ".1"], ["111", ".11", "..1"]])
def test_a_corner_of_some_pixels_keeps_them_as_coco_fills_them(rows):
    # A slope through the centres of pixels: nearly the same way of filling takes the other ones.
    mask = np.array([[pixel == "1" for pixel in row] for row in rows])
    assert overlap(filled_by_coco(parts_of(mask, UNIT), masks.size_of(mask)), mask) >= MIN_IOU


@pytest.mark.parametrize("mask", [ring(11), ring(5, 3), ring(7), ring(21, 1), ring(40, 2)])
@pytest.mark.parametrize("longer_side", [640, 1920, 3840])
def test_small_round_things_are_close_as_coco_fills_them_too(mask, longer_side):
    filled = filled_by_coco(parts_of(mask, longer_side), masks.size_of(mask))
    assert overlap(filled, mask) >= MIN_IOU


@given(blobs(), st.sampled_from([None, UNIT]))
def test_one_polygon_of_all_parts_adds_no_more_than_thin_lines(mask, longer_side):
    parts = parts_of(mask, longer_side)
    size = masks.size_of(mask)
    joined = join(parts)
    assert {tuple(point) for point in joined} == {tuple(point) for part in parts for point in part}
    apart, together = fill(parts, size), fill([joined], size)
    assert not (apart & ~together).any()
    reach = np.hypot(*size)
    assert np.count_nonzero(together & ~apart) <= (len(parts) - 1) * 2 * reach
    # For COCO's way of filling a line there and back is nothing at all.
    assert overlap(filled_by_coco([joined], size), filled_by_coco(parts, size)) > 0.99


@given(NOISE)
def test_the_lines_between_parts_are_the_shortest(mask):
    parts = parts_of(mask, longer_side=1)
    distances = [[cdist(one, other).min() for other in parts] for one in parts]
    part_of = {tuple(point): number for number, part in enumerate(parts) for point in part}
    joined = join(parts)
    steps = np.hypot(*np.diff(joined, axis=0).T)
    between = np.diff([part_of[tuple(point)] for point in joined]) != 0
    # There and back.
    assert np.count_nonzero(between) == 2 * (len(parts) - 1)
    assert steps[between].sum() == pytest.approx(2 * minimum_spanning_tree(distances).sum())


def test_polygons_in_a_row_are_joined():
    flat = [np.array([[x, 5.0], [x + 1, 5.0], [x + 2, 5.0]]) for x in (0, 30, 10, 2)]
    assert len(join(flat)) == 12 + 2 * 3


@pytest.mark.parametrize(
    "mask",
    [np.ones((1, 1), bool), np.ones((1, 7), bool), np.ones((9, 1), bool), np.eye(12, dtype=bool)],
    ids=["pixel", "row", "column", "diagonal"],
)
def test_the_thinnest_regions_have_an_area(mask):
    window = Box(5, 3, 5 + mask.shape[1], 3 + mask.shape[0])
    canvas = np.zeros((30, 40), bool)
    canvas[window.y1 : window.y2, window.x1 : window.x2] = mask
    (part,) = polygons(mask, window, Size(4000, 3000))
    assert len(part) >= 3
    np.testing.assert_array_equal(fill([part], Size(40, 30)), canvas)
    np.testing.assert_array_equal(filled_by_coco([part], Size(40, 30)), canvas)
    assert cv2.contourArea(part.astype(np.float32)) > 0


def test_holes_stay_open():
    mask = np.zeros((60, 80), bool)
    mask[5:55, 5:75] = True
    mask[15:30, 15:35] = False
    mask[35:50, 40:70] = False
    mask[40:45, 45:60] = True  # an island in a hole
    parts = parts_of(mask)
    assert len(parts) == 2
    assert overlap(filled_by_coco(parts, Size(80, 60)), mask) == 1
    assert overlap(fill(parts, Size(80, 60)), mask) == 1
    assert overlap(fill([join(parts)], Size(80, 60)), mask) > 0.98


def test_thousands_of_parts_and_holes():
    size = Size(420, 400)
    specks = np.zeros((size.height, size.width), bool)
    specks[2::6, 2::6] = specks[3::6, 2::6] = True
    count = np.count_nonzero(specks) // 2
    assert count > 4000
    parts = parts_of(specks, longer_side=1)
    joined = join(parts)
    assert len(parts) == count
    assert len(joined) == sum(map(len, parts)) + 2 * (count - 1)
    np.testing.assert_array_equal(filled_by_coco([joined], size), specks)
    # A path to each hole and back, in one line.
    (part,) = parts_of(~specks, longer_side=1)
    np.testing.assert_array_equal(filled_by_coco([part], size), ~specks)
    noise = np.random.default_rng(0).random((150, 150)) < 0.6
    parts = parts_of(noise, longer_side=1)
    np.testing.assert_array_equal(filled_by_coco(parts, Size(150, 150)), noise)
    np.testing.assert_array_equal(filled_by_coco([join(parts)], Size(150, 150)), noise)


def test_regions_of_photographs_need_few_corners():
    with Analyzer() as analyzer:
        for path in sorted(DATA.glob("*.jpg")):
            picture = images.load(path)
            # As of a camera with more pixels than are worked with.
            scene = analyzer.analyze(cv2.resize(picture, None, fx=2, fy=2))
            corners = exact = 0
            for region in scene.regions:
                mask = region.source_mask()
                parts = polygons(region.source_mask(region.box), region.box, scene.size)
                assert overlap(fill([join(parts)], scene.size), mask) > 0.95
                assert overlap(filled_by_coco(parts, scene.size), mask) >= MIN_IOU
                corners += len(join(parts))
                exact += sum(map(len, parts_of(mask, longer_side=1)))
            assert corners < 0.6 * exact
            # Ultralytics takes 1000 points of an outline.
            assert corners < 300 * len(scene.regions)
