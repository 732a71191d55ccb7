"""The rules of the sweep (docs/design.md), each against a plain sequential loop."""

import tracemalloc

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.masks import Size
from deep_perception.points import Point
from deep_perception.settings import SweepSettings
from deep_perception.sweep import Sweep

WIDTH, HEIGHT = 40, 30


class Discs:
    """A synthetic segmenter: each point gets a disc whose radius depends on the point alone."""

    name, model = "discs", ""

    def __init__(self, chunk_size=1, radius=lambda x, y: 3 + (7 * x + 3 * y) % 9):
        self.chunk_size = chunk_size
        self.radius = radius
        self.asked = []

    def masks(self, embedding, points):
        self.asked += [tuple(point) for point in points.tolist()]
        rows, columns = np.mgrid[:HEIGHT, :WIDTH]
        found = [
            (columns - x) ** 2 + (rows - y) ** 2 <= self.radius(x, y) ** 2
            for x, y in points.tolist()
        ]
        scores = [((x * 13 + y * 7) % 100) / 100 for x, y in points.tolist()]
        return np.array(found), np.array(scores, np.float32)

    def close(self):
        pass


def sweep(points, segmenter=None, clock=lambda: 0.0, **settings):
    return Sweep(
        segmenter=segmenter or Discs(),
        embedding=None,
        points=points,
        size=Size(WIDTH, HEIGHT),
        settings=SweepSettings(**{"min_mask_area": 1, **settings}),
        clock=clock,
    )


def reference(points, min_mask_area=1):
    """The original's loop: one point after the other."""
    segmenter, ignored, kept = Discs(), np.zeros((HEIGHT, WIDTH), bool), []
    for point in points:
        if ignored[point.y, point.x]:
            continue
        mask = segmenter.masks(None, np.array([[point.x, point.y]]))[0][0]
        if mask.sum() < min_mask_area:
            continue
        ignored |= mask
        kept.append((point, mask))
    return kept, ignored


POINTS = st.lists(
    st.builds(Point, st.integers(0, WIDTH - 1), st.integers(0, HEIGHT - 1), st.just("grid")),
    max_size=60,
    unique=True,
)


@given(POINTS, st.integers(1, 70), st.sampled_from([1, 40, 150]))
def test_every_chunk_size_gives_the_regions_of_the_sequential_loop(points, chunk_size, area):
    expected, ignored = reference(points, area)
    ours = sweep(points, Discs(chunk_size), min_mask_area=area)
    claims = list(ours)
    assert [claim.point for claim in claims] == [point for point, _ in expected]
    for claim, (_, mask) in zip(claims, expected, strict=True):
        assert np.array_equal(claim.mask, mask)
    assert np.array_equal(ours.claimed, ignored)


def test_a_point_inside_an_earlier_mask_does_not_prompt():
    segmenter = Discs(radius=lambda x, y: 5)
    points = [Point(10, 10, "contour"), Point(12, 10, "grid"), Point(30, 10, "grid")]
    assert [claim.point.x for claim in sweep(points, segmenter)] == [10, 30]
    assert segmenter.asked == [(10, 10), (30, 10)]


def test_a_mask_that_is_too_small_claims_nothing():
    segmenter = Discs(radius=lambda x, y: 1 if x == 10 else 6)
    points = [Point(10, 10, "grid"), Point(11, 10, "grid")]
    (claim,) = sweep(points, segmenter, min_mask_area=50)
    assert claim.point.x == 11


OVERLAPPING = [Point(10, 10, "grid"), Point(17, 10, "grid")]


@pytest.mark.parametrize(
    ("overlap", "shares"),
    [
        # as the original: the second disc keeps the pixels that it shares
        ("allow", True),
        # the shared pixels stay with the first
        ("trim", False),
        # less than half of the second disc is claimed: it stays whole
        ("skip", True),
    ],
)
def test_overlap_of_two_discs(overlap, shares):
    first, second = sweep(OVERLAPPING, Discs(radius=lambda x, y: 6), overlap=overlap)
    assert (first.mask & second.mask).any() == shares


def test_skip_drops_a_mask_that_is_mostly_claimed():
    # A disc of radius 10 with its centre just outside of one of radius 9.
    segmenter = Discs(radius=lambda x, y: {10: 9, 21: 9, 15: 12}[x])
    points = [Point(10, 15, "grid"), Point(21, 15, "grid"), Point(15, 23, "grid")]
    for overlap, kept in {"allow": 3, "trim": 3, "skip": 2}.items():
        assert len(list(sweep(points, segmenter, overlap=overlap))) == kept


def test_scores_below_the_minimum_are_dropped():
    points = [Point(1, 1, "grid"), Point(20, 20, "grid")]
    scores = [((point.x * 13 + point.y * 7) % 100) / 100 for point in points]
    between = sum(scores) / 2
    claims = list(sweep(points, min_score=between))
    assert [claim.score for claim in claims] == [pytest.approx(max(scores))]


def test_max_regions_reports_the_points_left_out():
    points = [Point(5, 5, "grid"), Point(20, 5, "grid"), Point(35, 5, "grid")]
    for chunk_size in (1, 8):
        limited = sweep(points, Discs(chunk_size, radius=lambda x, y: 3), max_regions=1)
        assert [claim.point for claim in limited] == points[:1]
        assert limited.left_out == points[1:]


def test_a_deadline_keeps_what_was_found_and_reports_the_rest():
    ticks = iter([0.0, 0.4, 0.8, 1.2])
    points = [Point(x, 5, "grid") for x in (5, 15, 25, 35)]
    segmenter = Discs(radius=lambda x, y: 3)
    limited = sweep(points, segmenter, clock=lambda: next(ticks), deadline_s=1.0)
    assert [claim.point for claim in limited] == points[:2]
    assert limited.left_out == points[2:]


def test_points_that_were_claimed_anyway_are_not_reported_as_left_out():
    points = [Point(10, 10, "grid"), Point(11, 10, "grid"), Point(35, 10, "grid")]
    limited = sweep(points, Discs(radius=lambda x, y: 4), max_regions=1)
    list(limited)
    assert limited.left_out == points[2:]


def test_a_region_that_is_kept_holds_no_memory_of_the_others_of_its_chunk():
    points = [Point(x, y, "grid") for y in range(2, HEIGHT, 4) for x in range(2, WIDTH, 4)]
    list(sweep(points[:2], Discs(len(points), lambda x, y: 1)))  # whatever is made once
    tracemalloc.start()
    kept = next(iter(sweep(points, Discs(len(points), lambda x, y: 1))))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert kept.mask.any()
    # The masks of all 70 points have 84,000 bytes.
    assert held < 10 * kept.mask.nbytes
