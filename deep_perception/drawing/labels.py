"""Where the labels of regions go: beside small things, inside large ones, none over another."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.masks import Box, Mask, Size

# All costs are in heights of the label. To cover the whole thing that a label names, or a whole
# other one, costs as much as to be this far away.
COVERS_ITS_OWN, COVERS_ANOTHER = 20.0, 80.0
COVERS_A_POINT = 3.0
# A thing of less than this number of label areas has a label beside it, unless there is no room.
SMALL_LABELS, COVERS_SMALL = 16, 1000.0
# Labels further away than this, in heights and in sides of the image, are left out: their lines
# would cross what others show.
FARTHEST, FARTHEST_SIDES = 12.0, 0.15
# Where along a label its distance to the mask is measured.
SAMPLES = (0.0, 0.25, 0.5, 0.75, 1.0)
# Labels take at most this share of the image; the largest regions have priority.
MOST_OF_THE_IMAGE = 0.2


@dataclass(frozen=True, eq=False, kw_only=True)
class Thing:
    """What a label names: its mask inside of its bounding box, both in px of the canvas."""

    box: Box
    mask: Mask
    point: tuple[int, int]


@dataclass
class Layout:
    """Places labels on a canvas one after the other, so that none overlaps an earlier one."""

    canvas: Size
    things: Sequence[Thing]
    placed: list[Box] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Each pixel weighs its share of the smallest thing that it shows, so that the sum over a
        # label says how much of things it covers.
        weights = np.zeros((self.canvas.height, self.canvas.width), np.float32)
        areas = [int(np.count_nonzero(thing.mask)) for thing in self.things]
        for place in sorted(range(len(areas)), key=lambda place: -areas[place]):
            box, mask = self.things[place].box, self.things[place].mask
            weights[box.y1 : box.y2, box.x1 : box.x2][mask] = COVERS_ANOTHER / max(1, areas[place])
        for thing in self.things:
            weights[thing.point[1], thing.point[0]] += COVERS_A_POINT
        self._weights = cv2.integral(weights, sdepth=cv2.CV_64F)

    def place(self, thing: Thing, label: Size, gap: int) -> Box | None:
        """Find the place of a label: the one with the least cost, or None if there is no room."""
        reach = round(min(FARTHEST * label.height, FARTHEST_SIDES * max(self.canvas)))
        field = _DistanceField(thing, self.canvas, reach)
        covered = cv2.integral(thing.mask.astype(np.uint8))
        least, best, away = np.inf, (0, 0), np.inf
        for lattice in _lattices(thing.box, label, gap, reach):
            xs, ys = (
                places[(places >= 0) & (places <= side - of_label)]
                for places, side, of_label in zip(lattice, self.canvas, label, strict=True)
            )
            if not (len(xs) and len(ys)):
                continue
            distances = field.of(xs, ys, label)
            costs = self._costs(xs, ys, thing, covered, label) + distances / label.height
            costs[_overlaps(xs, ys, label, self.placed)] = np.inf
            row, column = np.unravel_index(costs.argmin(), costs.shape)
            # At the same cost, an earlier lattice has priority.
            if costs[row, column] < least:
                least, away = costs[row, column], distances[row, column]
                best = int(xs[column]), int(ys[row])
        if away > reach:
            return None
        x, y = best
        self.placed.append(Box(x, y, x + label.width, y + label.height))
        return self.placed[-1]

    def _costs(
        self,
        xs: NDArray[np.int64],
        ys: NDArray[np.int64],
        thing: Thing,
        covered: NDArray[Any],
        label: Size,
    ) -> NDArray[np.float64]:
        """The cost of each place without its distance; ``covered`` is the integral of the mask."""
        area = max(1, int(covered[-1, -1]))
        share = _sums(covered, xs - thing.box.x1, ys - thing.box.y1, label) / area
        small = area < SMALL_LABELS * label.width * label.height
        per_share = (COVERS_SMALL if small else COVERS_ITS_OWN) - COVERS_ANOTHER
        x, y = thing.point
        across = np.maximum(np.maximum(x - (xs + label.width), xs - (x + 1)), 0)
        down = np.maximum(np.maximum(y - (ys + label.height), ys - (y + 1)), 0)
        to_point = np.hypot(across[None, :], down[:, None])
        return np.asarray(
            _sums(self._weights, xs, ys, label) + per_share * share + 0.25 * to_point / label.height
        )


class _DistanceField:
    """How far the places around a thing are from its mask, in px of the canvas."""

    def __init__(self, thing: Thing, canvas: Size, reach: int) -> None:
        box = thing.box
        self._left, self._top = max(0, box.x1 - reach), max(0, box.y1 - reach)
        right, bottom = min(canvas.width, box.x2 + reach), min(canvas.height, box.y2 + reach)
        outside = np.ones((bottom - self._top, right - self._left), np.uint8)
        part = np.s_[box.y1 - self._top : box.y2 - self._top, box.x1 - self._left :]
        outside[part][:, : box.width] -= thing.mask
        # An empty mask is near to everything.
        self._field = (
            cv2.distanceTransform(outside, cv2.DIST_L2, 3)
            if thing.mask.any()
            else np.zeros(outside.shape, np.float32)
        )

    def of(self, xs: NDArray[np.int64], ys: NDArray[np.int64], label: Size) -> NDArray[np.float64]:
        """Return about how far a label at each place of a lattice is from the mask."""
        height, width = self._field.shape
        rows = self._field[_within(ys + label.height // 2 - self._top, height - 1)]
        samples = (xs + round(at * label.width) - self._left for at in SAMPLES)
        found = [rows[:, _within(columns, width - 1)] for columns in samples]
        return np.maximum(
            functools.reduce(np.minimum, found).astype(np.float64) - label.height / 2, 0
        )


def most(labels: Sequence[Size], areas: Sequence[int], canvas: Size) -> list[int]:
    """Choose the labels that the image has room for, those of the largest regions first."""
    room = MOST_OF_THE_IMAGE * canvas.width * canvas.height
    chosen: list[int] = []
    for place in sorted(range(len(labels)), key=lambda place: -areas[place]):
        room -= labels[place].width * labels[place].height
        if room < 0 and chosen:
            break
        chosen.append(place)
    return chosen


def _lattices(
    box: Box, label: Size, gap: int, reach: int
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Yield the upper left corners to try, as their columns and rows.

    First come the corners flush with the box at every side, then a lattice around it.
    """
    width, height = label
    middle = (box.x1 + box.x2 - width) // 2, (box.y1 + box.y2 - height) // 2
    xs = [box.x2 + gap, box.x1 - gap - width, middle[0], box.x1, box.x2 - width]
    ys = [middle[1], box.y1 - gap - height, box.y2 + gap, box.y1, box.y2 - height]
    yield np.array(xs, np.int64), np.array(ys, np.int64)
    step = max(1, height // 2)
    # A lattice over a large thing need not be finer than a fraction of it.
    across, down = (max(step, side // 48) for side in (box.width, box.height))
    yield (
        np.arange(box.x1 - reach - width, box.x2 + reach, across, dtype=np.int64),
        np.arange(box.y1 - reach - height, box.y2 + reach, down, dtype=np.int64),
    )


def _overlaps(
    xs: NDArray[np.int64], ys: NDArray[np.int64], label: Size, placed: Sequence[Box]
) -> NDArray[np.bool_]:
    """Return for each place whether a label there overlaps or touches one that is placed."""
    x1, y1, x2, y2 = np.array(placed, np.int64).reshape(-1, 4, 1).swapaxes(0, 1)
    # One pixel between two labels, so that they are read as two.
    columns = (xs + label.width >= x1) & (xs <= x2)
    rows = (ys + label.height >= y1) & (ys <= y2)
    # The product counts the labels that a place overlaps both in its column and in its row.
    return rows.T.astype(np.float32) @ columns.astype(np.float32) > 0


def _sums(
    integral: NDArray[Any], xs: NDArray[np.int64], ys: NDArray[np.int64], label: Size
) -> NDArray[np.float64]:
    """Sum under a label at each place, from the integral image of what is outside of it 0."""
    height, width = integral.shape[0] - 1, integral.shape[1] - 1
    left, right = (_within(xs + side, width) for side in (0, label.width))
    top, bottom = (_within(ys + side, height) for side in (0, label.height))
    above, below = integral[top], integral[bottom]
    return np.asarray(below[:, right] - above[:, right] - below[:, left] + above[:, left])


def _within(places: NDArray[np.int64], most: int) -> NDArray[np.int64]:
    # np.clip takes several times as long for arrays as short as these.
    return np.minimum(np.maximum(places, 0), most)
