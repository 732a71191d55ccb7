"""Where to prompt the segmenter: contour centroids by area, then a grid."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception import masks
from deep_perception.images import BgrImage
from deep_perception.settings import PointSettings

Source = Literal["contour", "grid"]
Contour = NDArray[np.int32]


@dataclass(frozen=True)
class Point:
    """A prompt point in pixels of the image it was proposed on: x right, y down."""

    x: int
    y: int
    source: Source


def find_contours(image: BgrImage) -> list[Contour]:
    """External contours of the edges of an HxWx3 BGR image, largest ``contourArea`` first."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = cv2.Canny(cv2.GaussianBlur(grey, (5, 5), 0), 100, 200)
    found, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours: list[Contour] = [np.asarray(contour, np.int32) for contour in found]
    return sorted(contours, key=cv2.contourArea, reverse=True)


def contour_points(image: BgrImage, *, limit: int = 500, inside: bool = False) -> list[Point]:
    """Moment centroids of the contours with non-zero area, largest first, duplicates dropped.

    Centroids are truncated to whole pixels and clamped to the image. With ``inside``, a centroid
    outside its contour (a crescent's) moves to the contour's innermost pixel.
    """
    height, width = image.shape[:2]
    centroids = []
    for contour in find_contours(image):
        moments = cv2.moments(contour)
        if moments["m00"] == 0:
            continue
        x = int(moments["m10"] / moments["m00"])
        y = int(moments["m01"] / moments["m00"])
        if inside and cv2.pointPolygonTest(contour, (x, y), measureDist=False) < 0:
            x, y = innermost_pixel(contour)
        centroids.append(Point(min(max(x, 0), width - 1), min(max(y, 0), height - 1), "contour"))
    return unique(centroids)[:limit]


def innermost_pixel(contour: Contour) -> tuple[int, int]:
    """The pixel of a filled contour that is farthest from its boundary."""
    left, top, width, height = cv2.boundingRect(contour)
    # One pixel of margin: the distance is to the nearest zero, so the picture's rim must be zero.
    filled = np.zeros((height + 2, width + 2), np.uint8)
    cv2.drawContours(filled, [contour - (left - 1, top - 1)], -1, 1, cv2.FILLED)
    distance = cv2.distanceTransform(filled, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x) + left - 1, int(y) + top - 1


def grid_points(width: int, height: int, *, columns: int = 14, rows: int = 12) -> list[Point]:
    """An even grid without the border, column by column, duplicates dropped."""
    return unique(
        Point(int(i * width / (columns + 1)), int(j * height / (rows + 1)), "grid")
        for i in range(1, columns + 1)
        for j in range(1, rows + 1)
    )


def unique(points: Iterable[Point]) -> list[Point]:
    """The first point at each pixel, in order; it keeps its source."""
    first: dict[tuple[int, int], Point] = {}
    for point in points:
        first.setdefault((point.x, point.y), point)
    return list(first.values())


def to_source(point: Point, working: masks.Size, source: masks.Size) -> Point:
    """The same point in pixels of the source picture that the working one was shrunk from."""
    return Point(
        masks.to_source(point.x, working.width, source.width),
        masks.to_source(point.y, working.height, source.height),
        point.source,
    )


def propose(image: BgrImage, settings: PointSettings) -> list[Point]:
    """The points of one sweep over an HxWx3 BGR image: contours first, then the grid."""
    height, width = image.shape[:2]
    points: list[Point] = []
    if "contours" in settings.sources:
        points += contour_points(image, limit=settings.max_contour_points, inside=settings.inside)
    if "grid" in settings.sources:
        points += grid_points(width, height, columns=settings.grid_columns, rows=settings.grid_rows)
    return unique(points)
