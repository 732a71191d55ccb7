"""The embedded segmenter: object-like regions from colour and edges alone, without weights."""

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

# Enough pieces that a cup's rim or an eye owns several, few enough for a tree in 20 ms.
PIECES = 2400
# A smaller cell holds no edge-free pixel for its seed on real cameras' blur.
MIN_CELL_PX = 4
# Removes sensor noise and JPEG ringing (about 30 grey levels) without moving edges.
SMOOTH_DIAMETER_PX, SMOOTH_COLOUR, SMOOTH_SPACE_PX = 5, 30.0, 3.0
# Edges are measured on the scale that JPEG and demosaicing leave intact.
EDGE_SIGMA_PX = 1.0
# Shading moves L, seldom a and b: so lightness counts for less.
LIGHTNESS_WEIGHT = 0.7

# The numbers below were chosen by eye on fifteen pictures and by how well regions survive a
# change of brightness and an 8 px pan. All contrasts are in CIE Lab units (2-3 is just visible).
STEP_WEIGHT = 0.2  # colour step between the two pieces along a border, against the gradient there
COLOUR_WEIGHT = 0.5  # colour difference of whole regions, against the border between them
VISIBLE_EDGE = 3.0  # without an edge of about this, two regions may differ in colour by shading
SOFT_CONTRAST = 8.0  # below it contrast counts by its square: a sky's gradient is no border
LEAST_CONTRAST = 0.3  # keeps the size factor at work where there is no contrast at all
SIZE_EXPONENT = 0.25  # small regions are joined before large ones of the same contrast

# At most this many regions (the small ones not counted) before objects are put together.
MAX_PARTS = 48
# A part below this share of the picture is not counted as one.
COUNTED_SHARE = 0.001
# A bare wall with sensor noise (sigma 6 of 255) stays below this height, and so stays whole.
LEAST_HEIGHT = 4.0
# Between 1 (few, large regions) and 0 (every part by itself).
AREA_EXPONENT = 0.65
# Regions well below this share of the picture are not worth a mask of their own.
SMALL_SHARE = 0.002
# Specks below this share (180 px of 640x480) are given to their neighbours.
SPECK_SHARE = 0.0006
# Rounds off the staircase of the pieces' outlines.
OUTLINE_FILTER_PX = 5


@dataclass(frozen=True)
class Regions:
    """A picture taken apart: `labels` (H, W) int32 from 1, `scores` (regions,) float32 in 0..1."""

    labels: NDArray[np.int32]
    scores: NDArray[np.float32]


class Superpixels:
    """Takes a picture apart into object-like regions; a point's mask is the region it lies in.

    1. Pieces: a watershed (Meyer 1992) from one seed a grid cell, at the cell's flattest pixel, as
       in compact superpixels (Achanta et al. 2012).
    2. A binary partition tree over them (Salembier & Garrido 2000; `merge_tree`). Two regions are
       told apart by the edge along their border and, where there is one, by their colour, as in
       Felzenszwalb & Huttenlocher (2004) and Arbelaez et al. (2011).
    3. The part level: the tree cut at the height that leaves `max_parts` parts.
    4. Objects: above the part level, the set of regions that persist longest over the heights
       (log of death over birth), found by dynamic programming (Guigues et al. 2006). Petals become
       a flower, but a plain sky is never split to make up the number.
    5. Outlines: a median filter of the labels, and specks flooded by what surrounds them.

    The regions of a picture never overlap and together cover it. They are the same for every point
    asked, in any order and number.
    """

    name = "superpixels"
    model = ""
    chunk_size = 16

    def __init__(self, *, pieces: int = PIECES, max_parts: int = MAX_PARTS) -> None:
        """`pieces`: superpixels a picture; `max_parts` (>= 2): about the most regions a picture."""
        self._pieces = pieces
        self._max_parts = max_parts

    def embed(self, image: NDArray[np.uint8]) -> Regions:
        """Takes an (H, W, 3) uint8 BGR picture apart; about 0.1 s at 640x480."""
        smooth = _smooth(image)
        lab = _lab(smooth)
        edges = _edge_strength(lab)
        pieces = _flood(smooth, _seeds(edges, self._pieces)) - 1
        tree = _merge(pieces, lab, edges)
        part_height = _part_height(tree, self._max_parts)
        persistence = _persistence(tree, part_height)
        worth = -np.expm1(-tree.area / SMALL_SHARE)
        utility = tree.area**AREA_EXPONENT * persistence * worth
        nodes = best_cut(tree, utility, tree.height < part_height)
        chosen, region = np.unique(nodes, return_inverse=True)
        labels, source = _cleaned(smooth, region[pieces].astype(np.int32) + 1)
        scores = -np.expm1(-persistence[chosen[source - 1]])
        return Regions(labels, scores.astype(np.float32))

    def masks(
        self, embedding: Regions, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """The masks (P, H, W) bool and scores (P,) float32 of `points` (P, 2), x and y in pixels.

        A score near 1 says that the region's border stands out far above anything inside it.
        """
        labels = embedding.labels[points[:, 1], points[:, 0]]
        return embedding.labels == labels[:, None, None], embedding.scores[labels - 1]

    def close(self) -> None:
        """Nothing to free."""


def _smooth(image: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The picture with its noise filtered out and its edges kept."""
    smooth = cv2.bilateralFilter(image, SMOOTH_DIAMETER_PX, SMOOTH_COLOUR, SMOOTH_SPACE_PX)
    return np.asarray(smooth, np.uint8)


def _lab(image: NDArray[np.uint8]) -> NDArray[np.float32]:
    """(H, W, 3) uint8 BGR to (H, W, 3) float32 CIE Lab with the lightness scaled down."""
    lab = np.asarray(cv2.cvtColor(image.astype(np.float32) / 255, cv2.COLOR_BGR2LAB), np.float32)
    lab[..., 0] *= LIGHTNESS_WEIGHT
    return lab


def _edge_strength(lab: NDArray[np.float32]) -> NDArray[np.float32]:
    """The length of the colour gradient, (H, W) float32: about the Lab difference over 2 px."""
    blurred = cv2.GaussianBlur(lab, (0, 0), EDGE_SIGMA_PX)
    along_x = cv2.Sobel(blurred, cv2.CV_32F, 1, 0, scale=0.25)
    along_y = cv2.Sobel(blurred, cv2.CV_32F, 0, 1, scale=0.25)
    return np.asarray(np.sqrt((along_x * along_x + along_y * along_y).sum(-1)), np.float32)


def _seeds(edges: NDArray[np.float32], pieces: int) -> NDArray[np.int32]:
    """One marker a grid cell, 1, 2, ... in an else empty (H, W) int32 picture.

    The marker lies on the cell's flattest pixel, the most central one where all are flat.
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
    """Grows the markers over the unmarked (0) pixels of (H, W) int32, along the picture's edges.

    `cv2.watershed` spends one-pixel lines between regions and a frame around the picture; the frame
    is padded away, the lines go to a neighbour, so that the regions touch and stay connected.
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
    """The merge tree of the pieces (H, W) int32 from 0; areas are shares of the picture."""
    flat = pieces.ravel()
    pixels = np.bincount(flat).astype(np.float64)
    sums = [np.bincount(flat, lab[..., channel].ravel()) for channel in range(3)]
    colour = np.stack(sums, axis=1) / pixels[:, None]
    borders = find_borders(pieces, edges)
    step = _colour_difference(colour, borders)
    borders = replace(borders, strength=borders.strength + STEP_WEIGHT * step * borders.length)
    return build_tree(colour, pixels / pixels.sum(), borders, _join_cost)


def _colour_difference(colour: Floats, borders: Borders) -> Floats:
    """Euclidean distance in (scaled) Lab between the two regions of each border, (E,) float64."""
    return np.asarray(np.linalg.norm(colour[borders.low] - colour[borders.high], axis=1))


def _join_cost(colour: Floats, area: Floats, borders: Borders) -> Floats:
    """How much two touching regions differ, (E,) float64, weighed by the smaller one's share."""
    edge = borders.strength / borders.length
    visible = edge / (edge + VISIBLE_EDGE)
    contrast = edge + COLOUR_WEIGHT * visible * _colour_difference(colour, borders)
    contrast = contrast**2 / (contrast + SOFT_CONTRAST) + LEAST_CONTRAST
    per_mille = 1000 * np.minimum(area[borders.low], area[borders.high])
    return np.asarray(contrast * per_mille**SIZE_EXPONENT)


def _part_height(tree: MergeTree, max_parts: int) -> float:
    """The height at which at most `max_parts` parts of a countable size are left."""
    joins = slice(tree.leaves, None)
    smaller = np.minimum(tree.area[tree.left[joins]], tree.area[tree.right[joins]])
    counted = np.sort(tree.height[joins][smaller >= COUNTED_SHARE])[::-1]
    if counted.size == 0:
        return LEAST_HEIGHT
    return max(float(counted[min(max_parts - 2, counted.size - 1)]), LEAST_HEIGHT)


def _persistence(tree: MergeTree, part_height: float) -> Floats:
    """Log of death over birth, (nodes,) float64; heights below the part level hardly differ."""
    death = np.maximum(tree.deaths(), part_height)
    return np.asarray(np.log((death + part_height) / (tree.height + part_height)))


def _cleaned(image: NDArray[np.uint8], labels: NDArray[np.int32]) -> tuple[NDArray[np.int32], Ints]:
    """Smooth, connected regions without specks.

    Returns the new labels (H, W) int32 from 1 and, for each, the old label it came from.
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
