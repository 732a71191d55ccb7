"""Which pixels a polygon fills, to Ultralytics and to pycocotools: they differ at every slope."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.masks import Box, Mask, Size

Polygon = NDArray[np.float64]
"""(N, 2) x, y with N >= 3, closed from the last point to the first; to be filled by the even-odd
rule: a hole is reached and left by one and the same line."""

# pycocotools rounds corners to so many places a pixel, and takes the outline at the middle one.
PLACES, MIDDLE = 5, 2


def overlap(one: Mask, other: Mask) -> float:
    """Intersection over union; 1 of two that are empty."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def fill(parts: Sequence[Polygon], size: Size) -> Mask:
    """HxW bool mask of polygons, filled one after the other as Ultralytics does."""
    canvas = np.zeros((size.height, size.width), np.uint8)
    for part in parts:
        cv2.fillPoly(canvas, [np.floor(part).astype(np.int32)], 1)
    return canvas > 0


def fill_as_coco(parts: Sequence[Polygon], box: Box) -> Mask:
    """HxW bool mask inside ``box`` of polygons that do not leave it, as pycocotools fills them.

    What ``pycocotools.mask.frPyObjects``, ``merge`` and ``decode`` give, without pycocotools,
    which a replay does not need, and in one go: there may be thousands of parts.
    """
    if not parts:
        return np.zeros((box.height, box.width), bool)
    lengths = np.array([len(part) for part in parts])
    ends = np.cumsum(lengths)
    following = np.arange(1, ends[-1] + 1)
    following[ends - 1] = ends - lengths
    corners = (PLACES * np.concatenate(parts) + 0.5).astype(np.int64)
    edge, columns, rows = _crossings(corners, corners[following])
    part_of = np.repeat(np.arange(len(parts)), lengths)[edge]
    # A column of a part is inside from its first crossing to the second, from the third on, ...
    rows = np.clip(rows - box.y1, 0, box.height)
    places = (columns - box.x1) * (box.height + 1) + rows
    places = places[np.lexsort((places, part_of))]
    count = box.width * (box.height + 1)
    steps = np.bincount(places[::2], minlength=count) - np.bincount(places[1::2], minlength=count)
    inside = np.cumsum(steps.reshape(box.width, box.height + 1), axis=1) > 0
    return np.ascontiguousarray(inside[:, :-1].T)


def _crossings(
    starts: NDArray[np.int64], stops: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Where edges cross the middles of columns: the edge, the column, the first row below."""
    flat = np.abs(stops - starts)
    flat = flat[:, 0] >= flat[:, 1]
    # From left to right, a steep one from top to bottom.
    turned = np.where(flat, starts[:, 0] > stops[:, 0], starts[:, 1] > stops[:, 1])[:, None]
    starts, stops = np.where(turned, stops, starts), np.where(turned, starts, stops)
    # From the middle of a column to the place right of it.
    low, high = np.minimum(starts[:, 0], stops[:, 0]), np.maximum(starts[:, 0], stops[:, 0])
    first = (low + PLACES - MIDDLE - 1) // PLACES
    counts = np.maximum(0, (high + PLACES - MIDDLE - 1) // PLACES - first)
    edge = np.repeat(np.arange(len(starts)), counts)
    columns = np.arange(len(edge)) - np.repeat(np.cumsum(counts) - counts - first, counts)
    middle = PLACES * columns + MIDDLE
    (x, y), (width, height) = starts[edge].T, (stops - starts)[edge].T
    flat = flat[edge]
    slope = np.where(flat, height, width) / np.where(flat, width, height)

    def aside(base: NDArray[np.int64], steps: NDArray[np.int64]) -> NDArray[np.int64]:
        return (base + slope * steps + 0.5).astype(np.int64)

    along = middle - x
    level = np.minimum(aside(y, along), aside(y, along + 1))
    # The step in which a steep one gets there; the fraction may have been rounded to the other one.
    steps = np.ceil((middle + 0.5 - x) / np.where(flat, 1.0, slope)).astype(np.int64)
    steps -= (aside(x, steps - 1) > middle) == (slope > 0)
    steps += (aside(x, steps) > middle) != (slope > 0)
    level = np.where(flat, level, y + steps - 1)
    return edge, columns, (level + PLACES - MIDDLE - 1) // PLACES
