"""Masks as polygons, and back, as the readers of COCO and YOLO files fill them.

A point is x, y in pixels from the picture's upper left corner: pixel (0, 0) is the square from
0, 0 to 1, 1. Outlines lie ``EDGE`` inside of the edges of pixels: pycocotools rounds them to the
edges themselves, and Ultralytics, which cuts fractions off and fills the pixels that a line goes
through, gets the pixels on this side, also where 35 has become 34.99999 on the way through parts of
a width. So an outline that is not straightened is exact in both, but for the line to a hole where
it crosses another one: Ultralytics draws it.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import minimum_spanning_tree
from scipy.spatial import Delaunay

from deep_perception.masks import Box, Mask, Size
from deep_perception.replay.datasets.fill import Polygon, fill, fill_as_coco, overlap

Outline = NDArray[np.float32]
"""(N, 2) x, y of one closed line, in pixels of the mask."""

EDGE = 0.05
# Outlines are straightened by this part of the picture's longer side at most ...
TOLERANCE = 1 / 640
# ... and by less where the polygons, filled in either way, would overlap the mask less (IoU).
MIN_IOU = 0.97


def polygons(mask: Mask, box: Box, size: Size) -> list[Polygon]:
    """The parts of a region, the largest first, each with its holes.

    ``mask`` is the HxW bool mask inside ``box``, of a picture of ``size``. Parts that touch at a
    corner are one. None of an empty mask.

    As pycocotools fills them they overlap the mask by MIN_IOU at least. As Ultralytics does, too,
    where those that are not straightened do.
    """
    outlines, inside = _outlines(mask), Size(box.width, box.height)
    found: list[Polygon] = []
    for divisor in (1, 2, 4, 0):
        found = _parts(outlines, TOLERANCE * max(size) / divisor if divisor else 0.0)
        if not divisor or all(
            overlap(filled(found, inside), mask) >= MIN_IOU for filled in (fill, fill_as_coco)
        ):
            break
    corner = np.array([box.x1, box.y1], np.float64)
    return [np.round(part + corner, 2) for part in found]


def join(parts: Sequence[Polygon]) -> Polygon:
    """One polygon of several: each is reached from another one, and left, by the same line.

    The lines are from corner to corner, have no area, and are the shortest that join all parts.
    ``parts`` are not empty.
    """
    if len(parts) == 1:
        return parts[0]
    corners = np.concatenate(parts)
    ends = np.cumsum([len(part) for part in parts])
    part_of = np.repeat(np.arange(len(parts)), np.diff(ends, prepend=0))
    lines: dict[int, list[int]] = {}
    for one, other in _lines(corners, part_of):
        lines.setdefault(one, []).append(other)
        lines.setdefault(other, []).append(one)
    path: list[int] = []
    waiting, reached = [iter(range(len(parts[0])))], {0}
    while waiting:
        corner = next(waiting[-1], None)
        if corner is None:
            waiting.pop()
            continue
        path.append(corner)
        for there in lines.pop(corner, ()):
            part = int(part_of[there])
            if part not in reached:
                reached.add(part)
                first, end = int(ends[part]) - len(parts[part]), int(ends[part])
                waiting += [iter([corner]), chain(range(there, end), range(first, there + 1))]
    return corners[path]


def _lines(corners: Polygon, part_of: NDArray[np.int64]) -> list[tuple[int, int]]:
    """The shortest lines that join all parts, as pairs of corners: one less than there are parts.

    ``part_of`` says to which part each of the (N, 2) corners belongs.
    """
    # The shortest line from some parts to all others is a side of one of Delaunay's triangles: no
    # third corner lies in the circle around it, as that would be nearer.
    places, first, place_of = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    # Three more, too far away to be in one, so that there are triangles of corners in a row too.
    low, high = places.min(axis=0), places.max(axis=0)
    away = 2 * (high - low).max() + 1
    far = np.array([low - away, [high[0] + away, low[1] - away], [low[0] - away, high[1] + away]])
    net = Delaunay(np.concatenate([places, far]))
    sides = net.simplices[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    sides = sides[(sides < len(places)).all(axis=1)]
    left_out = net.coplanar[:, [0, 2]]
    same_place = np.stack([first[place_of.reshape(-1)], np.arange(len(corners))], axis=1)
    pairs = np.concatenate([first[sides], first[left_out], same_place])
    pairs = pairs[part_of[pairs[:, 0]] != part_of[pairs[:, 1]]]
    lengths = ((corners[pairs[:, 0]] - corners[pairs[:, 1]]) ** 2).sum(axis=1)
    pairs = pairs[np.lexsort((*pairs.T, lengths))]
    joined = np.sort(part_of[pairs], axis=1)
    _, shortest = np.unique(joined, axis=0, return_index=True)
    # Ranks instead of lengths: to SciPy a line of no length is none, and of equal ones it may take
    # any.
    graph = coo_matrix((shortest + 1.0, joined[shortest].T), shape=(part_of[-1] + 1,) * 2)
    chosen = minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1
    return [(int(one), int(other)) for one, other in pairs[np.sort(chosen)]]


def _outlines(mask: Mask) -> list[tuple[Outline, list[Outline]]]:
    """The outline of each part along the edges of its pixels, and those of its holes."""
    # Of a pixel that is doubled, OpenCV's outline through pixel centres tells left from right.
    doubled = np.repeat(np.repeat(mask.astype(np.uint8), 2, axis=0), 2, axis=1)
    found, hierarchy = cv2.findContours(doubled, cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE)
    if not found:
        return []
    edges = [_at_edges(np.asarray(outline).reshape(-1, 2), doubled) for outline in found]
    parents = np.asarray(hierarchy).reshape(-1, 4)[:, 3].tolist()
    parts: dict[int, tuple[Outline, list[Outline]]] = {
        index: (edges[index], []) for index, parent in enumerate(parents) if parent < 0
    }
    for index, parent in enumerate(parents):
        if parent >= 0:
            parts[parent][1].append(edges[index])
    return sorted(
        parts.values(), key=lambda part: (-cv2.contourArea(part[0]), *part[0][0].tolist())
    )


def _at_edges(outline: NDArray[Any], doubled: NDArray[np.uint8]) -> Outline:
    """From (N, 2) doubled pixels to the edges of pixels that they stand for."""
    before, after = outline - np.roll(outline, 1, axis=0), np.roll(outline, -1, axis=0)
    # OpenCV cuts inner corners off. Straightened, the cut would become a slope along the edge.
    level = before[:, 1] == 0
    corner = np.where(np.stack([level, ~level], axis=1), after, outline)
    cut = (np.abs(after - outline) == 1).all(axis=1) & (before == 0).any(axis=1)
    cut &= doubled[corner[:, 1], corner[:, 0]] > 0
    whole = np.where(cut[:, None], corner, outline)
    return (whole // 2 + np.where(whole % 2, 1 - EDGE, EDGE)).astype(np.float32)


def _parts(
    outlines: Sequence[tuple[Outline, Sequence[Outline]]], tolerance: float
) -> list[Polygon]:
    parts = []
    for outer, holes in outlines:
        corners = _straightened(outer, tolerance)
        # What is too thin to be straightened stays as it is; a hole of that kind is filled.
        rings = [outer if corners is None else corners]
        rings += [hole for each in holes if (hole := _straightened(each, tolerance)) is not None]
        parts.append(join([ring.astype(np.float64) for ring in rings]))
    return parts


def _straightened(outline: Outline, tolerance: float) -> Outline | None:
    """None where nothing with an area is left."""
    if not tolerance:
        return outline
    corners = np.asarray(cv2.approxPolyDP(outline, tolerance, True), np.float32).reshape(-1, 2)
    return corners if len(corners) >= 3 and cv2.contourArea(corners) > 0 else None
