"""The prompt points of the segmenter: centroids of contours by area, then a grid."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception import masks
from deep_perception.images import BgrImage
from deep_perception.settings import PointSettings

PointSource = Literal["contour", "grid"]
Contour = NDArray[np.int32]
"""(n, 1, 2) int32: x, y of the vertices, as ``cv2.findContours`` returns them."""

# The sources that each value of `points.sources` stands for.
PROPOSED: Mapping[str, frozenset[PointSource]] = {
    "contours+grid": frozenset(("contour", "grid")),
    "contours": frozenset(("contour",)),
    "grid": frozenset(("grid",)),
}


@dataclass(frozen=True)
class Point:
    """A prompt point in pixels of the image it was proposed on: x right, y down."""

    x: int
    y: int
    source: PointSource


def find_contours(image: BgrImage) -> list[Contour]:
    """The external contours of the edges of an HxWx3 BGR image, largest area first."""
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
    edges = cv2.Canny(cv2.GaussianBlur(grey, (5, 5), 0), 100, 200)
    found, _ = cv2.findContours(edges, cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE)
    contours: list[Contour] = [np.asarray(contour, np.int32) for contour in found]
    return sorted(contours, key=cv2.contourArea, reverse=True)


def contour_points(
    contours: Iterable[Contour], size: masks.Size, *, limit: int, inside: bool
) -> list[Point]:
    """The centroids of the contours with non-zero area, in their order, without duplicates.

    Centroids are truncated to whole pixels and clamped to the image. With ``inside``, a centroid
    that lies outside its contour (as a crescent's does) moves to the contour's innermost pixel.
    """
    centroids = []
    for contour in contours:
        moments = cv2.moments(contour)
        if moments["m00"] == 0:
            continue
        x = int(moments["m10"] / moments["m00"])
        y = int(moments["m01"] / moments["m00"])
        if inside and cv2.pointPolygonTest(contour, (x, y), measureDist=False) < 0:
            x, y = innermost_pixel(contour)
        x, y = min(max(x, 0), size.width - 1), min(max(y, 0), size.height - 1)
        centroids.append(Point(x, y, "contour"))
    return unique(centroids)[:limit]


def innermost_pixel(contour: Contour) -> tuple[int, int]:
    """The pixel of a filled contour that is farthest from its boundary."""
    left, top, width, height = cv2.boundingRect(contour)
    # The distance is measured to the nearest zero, so a margin of one pixel must be zero.
    filled = np.zeros((height + 2, width + 2), np.uint8)
    cv2.drawContours(filled, [contour - (left - 1, top - 1)], -1, 1, cv2.FILLED)
    distance = cv2.distanceTransform(filled, cv2.DIST_L2, cv2.DIST_MASK_PRECISE)
    y, x = np.unravel_index(int(distance.argmax()), distance.shape)
    return int(x) + left - 1, int(y) + top - 1


def grid_points(size: masks.Size, *, columns: int, rows: int) -> list[Point]:
    """An even grid without the border, column by column, without duplicates."""
    return unique(
        Point(int(i * size.width / (columns + 1)), int(j * size.height / (rows + 1)), "grid")
        for i in range(1, columns + 1)
        for j in range(1, rows + 1)
    )


def unique(points: Iterable[Point]) -> list[Point]:
    """The first point at each pixel, in order and with its source."""
    first: dict[tuple[int, int], Point] = {}
    for point in points:
        first.setdefault((point.x, point.y), point)
    return list(first.values())


def to_source(point: Point, working: masks.Size, source: masks.Size) -> Point:
    """The point in pixels of the source image from which the working image was shrunk."""
    return Point(
        masks.to_source(point.x, working.width, source.width),
        masks.to_source(point.y, working.height, source.height),
        point.source,
    )


def propose(
    image: BgrImage, settings: PointSettings, contours: Iterable[Contour] | None = None
) -> list[Point]:
    """The points of one sweep over an HxWx3 BGR image: contours first, then the grid.

    ``contours`` are those of ``find_contours`` for the image, if the caller has them already.
    """
    size = masks.size_of(image)
    sources = PROPOSED[settings.sources]
    points: list[Point] = []
    if "contour" in sources:
        found = find_contours(image) if contours is None else contours
        limit, inside = settings.max_contour_points, settings.inside
        points += contour_points(found, size, limit=limit, inside=inside)
    if "grid" in sources:
        points += grid_points(size, columns=settings.grid_columns, rows=settings.grid_rows)
    return unique(points)
