"""Polygons of masks that give the same mask when COCO and YOLO readers fill them.

A point is x, y in pixels from the image's upper left corner: pixel (0, 0) is the square from 0, 0
to 1, 1. Outlines lie ``EDGE`` inside of the edges of pixels. pycocotools rounds them to the edges.
Ultralytics truncates coordinates and fills the pixels on a line, so that it gets the pixels inside,
even if a rounding error of relative coordinates turns 35 into 34.99999. An outline that is not
straightened is therefore exact in both, except for the line to a hole where it crosses another
hole, which Ultralytics draws.
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
# The largest deviation of a straightened outline, as a share of the image's longer side.
TOLERANCE = 1 / 640
# Outlines are straightened less if the filled polygons would overlap the mask less (IoU).
MIN_IOU = 0.97


def polygons(mask: Mask, box: Box, size: Size) -> list[Polygon]:
    """Return the parts of a region, the largest first, each with its holes.

    ``mask`` is the HxW bool mask inside ``box``, in an image of ``size``. Parts that touch at a
    corner are one part. An empty mask has no parts.

    Filled by pycocotools, they overlap the mask by at least MIN_IOU. The same holds for Ultralytics
    if it holds for the outlines that are not straightened.
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
    """Join polygons into one, with lines that lead from one part to another and back.

    The lines lead from corner to corner, have no area, and are the shortest that join all parts.
    ``parts`` must not be empty.
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
        for entry in lines.pop(corner, ()):
            part = int(part_of[entry])
            if part not in reached:
                reached.add(part)
                first, end = int(ends[part]) - len(parts[part]), int(ends[part])
                waiting += [iter([corner]), chain(range(entry, end), range(first, entry + 1))]
    return corners[path]


def _lines(corners: Polygon, part_of: NDArray[np.int64]) -> list[tuple[int, int]]:
    """Return the shortest lines that join all parts, as pairs of corners, one fewer than parts.

    ``part_of`` is the part of each of the (N, 2) corners. The lines are the minimum spanning tree
    of the parts, whose edges are among the sides of the Delaunay triangulation: a third corner in
    the circle around a shortest line would be nearer.
    """
    points, first, point_of = np.unique(corners, axis=0, return_index=True, return_inverse=True)
    # Three points far outside give triangles also if all corners lie on one line.
    low, high = points.min(axis=0), points.max(axis=0)
    away = 2 * (high - low).max() + 1
    far = np.array([low - away, [high[0] + away, low[1] - away], [low[0] - away, high[1] + away]])
    triangulation = Delaunay(np.concatenate([points, far]))
    sides = triangulation.simplices[:, [0, 1, 1, 2, 2, 0]].reshape(-1, 2)
    sides = sides[(sides < len(points)).all(axis=1)]
    left_out = triangulation.coplanar[:, [0, 2]]
    same_point = np.stack([first[point_of.reshape(-1)], np.arange(len(corners))], axis=1)
    pairs = np.concatenate([first[sides], first[left_out], same_point])
    pairs = pairs[part_of[pairs[:, 0]] != part_of[pairs[:, 1]]]
    lengths = ((corners[pairs[:, 0]] - corners[pairs[:, 1]]) ** 2).sum(axis=1)
    pairs = pairs[np.lexsort((*pairs.T, lengths))]
    joined = np.sort(part_of[pairs], axis=1)
    _, shortest = np.unique(joined, axis=0, return_index=True)
    # The weights are ranks instead of lengths: SciPy ignores edges of length zero, and may choose
    # any of several equal ones.
    graph = coo_matrix((shortest + 1.0, joined[shortest].T), shape=(part_of[-1] + 1,) * 2)
    chosen = minimum_spanning_tree(graph.tocsr()).data.astype(np.int64) - 1
    return [(int(one), int(other)) for one, other in pairs[np.sort(chosen)]]


def _outlines(mask: Mask) -> list[tuple[Outline, list[Outline]]]:
    """Return the outline of each part along the edges of its pixels, and those of its holes."""
    # OpenCV's outlines go through pixel centres. In a doubled mask they show on which side of a
    # pixel the outline is.
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
    """Convert (N, 2) corners in doubled pixels to the edges of the original pixels."""
    before, after = outline - np.roll(outline, 1, axis=0), np.roll(outline, -1, axis=0)
    # OpenCV cuts inner corners off, which straightening would turn into a slope along the edge.
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
        corners = _straighten(outer, tolerance)
        # A part that is too thin to be straightened stays as it is; such a hole is filled.
        rings = [outer if corners is None else corners]
        straightened = (_straighten(hole, tolerance) for hole in holes)
        rings += [hole for hole in straightened if hole is not None]
        parts.append(join([ring.astype(np.float64) for ring in rings]))
    return parts


def _straighten(outline: Outline, tolerance: float) -> Outline | None:
    """Return the straightened outline, None if no area is left."""
    if not tolerance:
        return outline
    corners = np.asarray(cv2.approxPolyDP(outline, tolerance, True), np.float32).reshape(-1, 2)
    return corners if len(corners) >= 3 and cv2.contourArea(corners) > 0 else None
