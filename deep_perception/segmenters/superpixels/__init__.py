"""The embedded segmenter: object-like regions from colour and edges, without learned weights."""

from __future__ import annotations

from dataclasses import dataclass, replace

import cv2
import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

from deep_perception.segmenters.superpixels.merge_tree import (
    Borders,
    Floats,
    Ints,
    MergeTree,
    best_cut,
    build_tree,
    find_borders,
)

# The number of superpixels: enough that a cup's rim or an eye has several, and few enough that the
# tree takes 20 ms.
PIECES = 2400
# In a smaller cell, the blur of real cameras leaves no pixel without an edge for the seed.
MIN_CELL_PX = 4
# This filter removes sensor noise and JPEG ringing (about 30 grey levels) without moving edges.
SMOOTH_DIAMETER_PX, SMOOTH_COLOR, SMOOTH_SPACE_PX = 5, 30.0, 3.0
# Edges are measured at a scale that JPEG and demosaicing do not alter.
EDGE_SIGMA_PX = 1.0
# Lightness has less weight than a and b, because shading changes mainly L.
LIGHTNESS_WEIGHT = 0.7

# The numbers below were chosen by eye on fifteen images and by how well regions are preserved when
# the brightness changes or the camera pans by 8 px. Contrasts are in CIE Lab units, of which 2 to 3
# are just visible.
# The weight of the colour step along a border, relative to the gradient there.
STEP_WEIGHT = 0.2
# The weight of the colour difference of whole regions, relative to the border between them.
COLOR_WEIGHT = 0.5
# Without an edge of about this strength, a colour difference may be shading.
VISIBLE_EDGE = 3.0
# Below this contrast the square counts, so that the gradient of a sky makes no border.
SOFT_CONTRAST = 8.0
# This contrast is added, so that the size still matters where there is no contrast.
LEAST_CONTRAST = 0.3
# With this exponent small regions are merged before large ones of the same contrast.
SIZE_EXPONENT = 0.25

# The maximum number of parts, without the small ones, from which objects are composed.
MAX_PARTS = 48
# A part below this share of the image does not count.
COUNTED_SHARE = 0.001
# A bare wall with sensor noise (sigma 6 of 255) stays below this height, so it is not split.
LEAST_HEIGHT = 4.0
# This exponent leads to few, large regions at 1, and to the single parts at 0.
AREA_EXPONENT = 0.65
# The utility of a region decreases below this share of the image.
SMALL_SHARE = 0.002
# Specks below this share of the image (180 px of 640x480) are assigned to their neighbours.
SPECK_SHARE = 0.0006
# This median filter smooths the steps in the outlines of the pieces.
OUTLINE_FILTER_PX = 5


@dataclass(frozen=True)
class Regions:
    """The partition of an image: `labels` (H, W) int32 from 1, `scores` (n,) float32 in 0..1."""

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]


class Superpixels:
    """Partitions an image into object-like regions; the mask of a point is the region around it.

    1. Pieces: a watershed (Meyer 1992) from one seed per grid cell, at the cell's flattest pixel,
       as in compact superpixels (Achanta et al. 2012).
    2. A binary partition tree over the pieces (Salembier & Garrido 2000; `merge_tree`). The cost of
       merging two regions is the edge along their border and, if there is an edge, their colour
       difference, as in Felzenszwalb & Huttenlocher (2004) and Arbelaez et al. (2011).
    3. Parts: the tree is cut at the height that leaves `max_parts` parts.
    4. Objects: above the part level, the set of regions with the greatest persistence (log of death
       over birth height) is found by dynamic programming (Guigues et al. 2006). Petals become a
       flower, but a plain sky is never split to reach the number of parts.
    5. Outlines: a median filter smooths the labels, and specks are flooded from their neighbours.

    The regions of an image never overlap, cover the image, and do not depend on the points.
    """

    name = "superpixels"
    model = ""
    chunk_size = 16

    def __init__(self, *, pieces: int = PIECES, max_parts: int = MAX_PARTS) -> None:
        """`pieces`: superpixels per image; `max_parts` (>= 2): about the most regions per image."""
        self._pieces = pieces
        self._max_parts = max_parts

    def embed(self, image: NDArray[np.uint8]) -> Regions:
        """Partition an (H, W, 3) uint8 BGR image, which takes about 0.1 s at 640x480."""
        smooth = _smooth(image)
        lab = _lab(smooth)
        edges = _edge_strength(lab)
        pieces = _flood(smooth, _seeds(edges, self._pieces)) - 1
        tree = _merge(pieces, lab, edges)
        part_height = _part_height(tree, self._max_parts)
        persistence = _persistence(tree, part_height)
        size_factor = -np.expm1(-tree.area / SMALL_SHARE)
        utility = tree.area**AREA_EXPONENT * persistence * size_factor
        nodes = best_cut(tree, utility, tree.height < part_height)
        chosen, region = np.unique(nodes, return_inverse=True)
        labels, source = _cleaned(smooth, region[pieces].astype(np.int32) + 1)
        scores = -np.expm1(-persistence[chosen[source - 1]])
        return Regions(labels, scores.astype(np.float32))

    def masks(
        self, embedding: Regions, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The masks (P, H, W) bool and scores (P,) float32 of `points` (P, 2), x and y in pixels.

        A score near 1 means that the border of the region is much stronger than any edge inside.
        """
        labels = embedding.labels[points[:, 1], points[:, 0]]
        return embedding.labels == labels[:, None, None], embedding.scores[labels - 1]

    def close(self) -> None:
        """Do nothing: there is nothing to free."""


def _smooth(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The image with its noise filtered out and its edges kept."""
    smooth = cv2.bilateralFilter(image, SMOOTH_DIAMETER_PX, SMOOTH_COLOR, SMOOTH_SPACE_PX)
    return np.asarray(smooth, np.uint8)


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 BGR to (H, W, 3) float32 CIE Lab with the lightness scaled down."""
    lab = np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB), np.float32)
    lab[..., 0] *= LIGHTNESS_WEIGHT
    return lab


def _edge_strength(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """The norm of the colour gradient, (H, W) float32: about the Lab difference over 2 px."""
    blurred = cv2.GaussianBlur(lab, (0, 0), EDGE_SIGMA_PX)
    along_x = cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=0.25)
    along_y = cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=0.25)
    return np.asarray(np.sqrt((along_x * along_x + along_y * along_y).sum(-1)), np.float32)


def _seeds(edges: NDArray[np.float32], pieces: int) -> NDArray[np.int32]:
    """One marker (1, 2, ...) per grid cell in an (H, W) int32 image that is 0 elsewhere.

    The marker lies on the cell's flattest pixel, and on the most central one if all are flat.
    """
    height, width = edges.shape
    cell = max(MIN_CELL_PX, round(float(np.sqrt(edges.size / pieces))))
    rows, columns = -(-height // cell), -(-width // cell)
    padded = np.full((rows * cell, columns * cell), np.inf, np.float32)
    padded[:height, :width] = edges
    offset = (np.arange(cell, dtype=np.float32) - (cell - 1) / 2) / cell
    off_centre = offset[:, None] ** 2 + offset**2
    cells = padded.reshape(rows, cell, columns, cell).transpose(0, 2, 1, 3) + off_centre
    flattest = cells.reshape(rows, columns, -1).argmin(-1)
    y = np.arange(rows)[:, None] * cell + flattest // cell
    x = np.arange(columns) * cell + flattest % cell
    markers = np.zeros(edges.shape, np.int32)
    markers[y, x] = np.arange(1, rows * columns + 1).reshape(rows, columns)
    return markers


def _flood(image: NDArray[np.uint8], markers: NDArray[np.int32]) -> NDArray[np.int32]:
    """Grow the markers (H, W) int32 over the unmarked (0) pixels by a watershed of the image.

    `cv2.watershed` leaves lines of one pixel between regions and a frame around the image. The
    frame falls into a padding and the lines go to a neighbour, so that the regions touch and stay
    connected.
    """
    padded = cv2.copyMakeBorder(image, 1, 1, 1, 1, cv2.BORDER_REPLICATE)
    flooded = cv2.copyMakeBorder(markers, 1, 1, 1, 1, cv2.BORDER_CONSTANT, value=0)
    labels = np.maximum(cv2.watershed(padded, flooded)[1:-1, 1:-1], 0).astype(np.uint16)
    cross = cv2.getStructuringElement(cv2.MORPH_CROSS, (3, 3))
    while not labels.all():
        labels = np.where(labels == 0, cv2.dilate(labels, cross), labels)
    return labels.astype(np.int32)


def _merge(
    pieces: NDArray[np.int32], lab: NDArray[np.float32], edges: NDArray[np.float32]
) -> MergeTree:
    """The merge tree of the pieces (H, W) int32 from 0; areas are shares of the image."""
    flat = pieces.ravel()
    pixels = np.bincount(flat).astype(np.float64)
    sums = [np.bincount(flat, lab[..., channel].ravel()) for channel in range(3)]
    color = np.stack(sums, axis=1) / pixels[:, None]
    borders = find_borders(pieces, edges)
    step = _color_difference(color, borders)
    borders = replace(borders, strength=borders.strength + STEP_WEIGHT * step * borders.length)
    return build_tree(color, pixels / pixels.sum(), borders, _merge_cost)


def _color_difference(color: Floats, borders: Borders) -> Floats:
    """The distance in scaled Lab between the two regions of each border, (E,) float64."""
    return np.asarray(np.linalg.norm(color[borders.low] - color[borders.high], axis=1))


def _merge_cost(color: Floats, area: Floats, borders: Borders) -> Floats:
    """The contrast of two touching regions, (E,) float64, weighted by the smaller one's share."""
    edge = borders.strength / borders.length
    visible = edge / (edge + VISIBLE_EDGE)
    contrast = edge + COLOR_WEIGHT * visible * _color_difference(color, borders)
    contrast = contrast**2 / (contrast + SOFT_CONTRAST) + LEAST_CONTRAST
    per_mille = 1000 * np.minimum(area[borders.low], area[borders.high])
    return np.asarray(contrast * per_mille**SIZE_EXPONENT)


def _part_height(tree: MergeTree, max_parts: int) -> float:
    """The height at which at most `max_parts` parts that count are left."""
    merges = slice(tree.leaves, None)
    smaller = np.minimum(tree.area[tree.left[merges]], tree.area[tree.right[merges]])
    counted = np.sort(tree.height[merges][smaller >= COUNTED_SHARE])[::-1]
    if counted.size == 0:
        return LEAST_HEIGHT
    return max(float(counted[min(max_parts - 2, counted.size - 1)]), LEAST_HEIGHT)


def _persistence(tree: MergeTree, part_height: float) -> Floats:
    """The log of death over birth height, (nodes,) float64, damped below the part level."""
    death = np.maximum(tree.deaths(), part_height)
    return np.asarray(np.log((death + part_height) / (tree.height + part_height)))


def _cleaned(image: NDArray[np.uint8], labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], Ints]:
    """Smooth the outlines, split unconnected regions, and remove specks.

    Returns the new labels (H, W) int32 from 1 and the old label of each.
    """
    smooth = cv2.medianBlur(labels.astype(np.uint16), OUTLINE_FILTER_PX).astype(np.int32)
    markers = np.zeros_like(smooth)
    source: list[int] = []
    for label, box in enumerate(ndimage.find_objects(smooth), 1):
        if box is None:
            continue
        inside = (smooth[box] == label).astype(np.uint8)
        count, parts, stats, _ = cv2.connectedComponentsWithStats(inside, connectivity=4)
        for part in range(1, count):
            if stats[part, cv2.CC_STAT_AREA] >= SPECK_SHARE * labels.size:
                source.append(label)
                markers[box][parts == part] = len(source)
    if not source:
        return np.ones_like(smooth), np.ones(1, np.int64)
    return (markers if markers.all() else _flood(image, markers)), np.array(source)
