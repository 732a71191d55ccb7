"""The prompt points (docs/design.md, "The rules of the sweep")."""

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.masks import Size, size_of
from deep_perception.points import (
    Point,
    contour_points,
    find_contours,
    grid_points,
    propose,
    unique,
)
from deep_perception.settings import PointSettings


def canvas(width=320, height=240):
    return np.full((height, width, 3), 255, np.uint8)


def centroids(image, limit=500, inside=False):
    return contour_points(find_contours(image), size_of(image), limit=limit, inside=inside)


@pytest.mark.parametrize(
    ("size", "columns", "rows", "expected"),
    [
        # x = int(i * W / (columns + 1)), column by column.
        ((100, 60), 2, 2, [(33, 20), (33, 40), (66, 20), (66, 40)]),
        # A single point is in the middle.
        ((101, 61), 1, 1, [(50, 30)]),
        # Coordinates are truncated: 1 * 5 / 3 = 1.67 becomes 1.
        ((5, 5), 2, 1, [(1, 2), (3, 2)]),
        # With more columns than pixels, duplicates are dropped and the order is kept.
        ((2, 1), 3, 1, [(0, 0), (1, 0)]),
    ],
)
def test_the_positions_of_grid_points(size, columns, rows, expected):
    points = grid_points(Size(*size), columns=columns, rows=rows)
    assert [(point.x, point.y) for point in points] == expected


def test_the_default_grid_has_14_columns_and_12_rows():
    points = propose(canvas(640, 480), PointSettings(sources="grid"))
    assert len(points) == 168
    assert len({point.x for point in points}) == 14
    assert points[0] == Point(int(640 / 15), int(480 / 13), "grid")


def test_contour_points_are_centroids_with_the_largest_contour_first():
    image = canvas()
    cv2.rectangle(image, (20, 20), (39, 39), (0, 0, 0), -1)
    cv2.rectangle(image, (100, 100), (219, 179), (0, 0, 0), -1)
    cv2.circle(image, (270, 50), 25, (0, 0, 0), -1)
    found = centroids(image)
    for point, centre in zip(found, [(159, 139), (270, 50), (29, 29)], strict=True):
        assert point.source == "contour"
        assert abs(point.x - centre[0]) <= 1
        assert abs(point.y - centre[1]) <= 1


def test_a_limit_keeps_the_largest_contour():
    image = canvas()
    cv2.rectangle(image, (20, 20), (39, 39), (0, 0, 0), -1)
    cv2.rectangle(image, (100, 100), (219, 179), (0, 0, 0), -1)
    (kept,) = centroids(image, limit=1)
    assert abs(kept.x - 159) <= 1


def crescent():
    image = canvas()
    cv2.circle(image, (160, 120), 80, (0, 0, 0), -1)
    cv2.circle(image, (180, 120), 80, (255, 255, 255), -1)
    return image


def test_inside_moves_the_centroid_of_a_crescent_into_it():
    image = crescent()
    outside = centroids(image)[0]
    inside = centroids(image, inside=True)[0]
    assert image[outside.y, outside.x, 0] == 255
    assert image[inside.y, inside.x, 0] == 0


def test_inside_does_not_change_the_centroid_of_a_convex_contour():
    image = canvas()
    cv2.circle(image, (160, 120), 60, (0, 0, 0), -1)
    assert centroids(image, inside=True) == centroids(image)


def test_a_pixel_is_proposed_once_and_keeps_its_first_source():
    first, second = Point(3, 4, "contour"), Point(3, 4, "grid")
    assert unique([first, second, first]) == [first]


@pytest.mark.parametrize(
    ("sources", "expected"),
    [
        ("contours+grid", ["contour", "grid"]),
        ("contours", ["contour"]),
        ("grid", ["grid"]),
    ],
)
def test_points_have_the_sources_of_the_setting(sources, expected):
    points = propose(crescent(), PointSettings(sources=sources))
    assert list(dict.fromkeys(point.source for point in points)) == expected


@given(st.integers(1, 400), st.integers(1, 400), st.integers(0, 2**32 - 1))
def test_points_lie_inside_any_image_and_are_unique(width, height, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    points = propose(noise, PointSettings(inside=bool(seed % 2)))
    assert all(0 <= point.x < width and 0 <= point.y < height for point in points)
    assert len({(point.x, point.y) for point in points}) == len(points)
