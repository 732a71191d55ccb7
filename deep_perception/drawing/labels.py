"""Where the labels of regions go: beside small things, inside large ones, none over another."""

from __future__ import annotations

from collections.abc import Sequence
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
        x2, y2 = self.canvas.width - label.width, self.canvas.height - label.height
        if x2 < 0 or y2 < 0:
            return None
        reach = round(min(FARTHEST * label.height, FARTHEST_SIDES * max(self.canvas)))
        corners = _candidates(thing.box, label, gap, reach)
        xs, ys = corners.T
        inside = (xs >= 0) & (ys >= 0) & (xs <= x2) & (ys <= y2)
        corners = corners[inside]
        corners = corners[_free(corners, label, self.placed)]
        if not len(corners):
            return None
        away = self._distances(corners, thing, label, reach)
        best = int((self._costs(corners, thing, label) + away / label.height).argmin())
        if away[best] > reach:
            return None
        x, y = (int(each) for each in corners[best])
        self.placed.append(Box(x, y, x + label.width, y + label.height))
        return self.placed[-1]

    def _costs(self, corners: NDArray[np.int64], thing: Thing, label: Size) -> NDArray[np.float64]:
        own = cv2.integral(thing.mask.astype(np.uint8))
        area = max(1, int(own[-1, -1]))
        covered = _sums(own, corners - [thing.box.x1, thing.box.y1], label) / area
        small = area < SMALL_LABELS * label.width * label.height
        per_share = (COVERS_SMALL if small else COVERS_ITS_OWN) - COVERS_ANOTHER
        x, y = thing.point
        to_point = _distance(corners, label, Box(x, y, x + 1, y + 1))
        return np.asarray(
            _sums(self._weights, corners, label)
            + per_share * covered
            + 0.25 * to_point / label.height
        )

    def _distances(
        self, corners: NDArray[np.int64], thing: Thing, label: Size, reach: int
    ) -> NDArray[np.float64]:
        """About how far each label is from the mask."""
        left, top = max(0, thing.box.x1 - reach), max(0, thing.box.y1 - reach)
        right = min(self.canvas.width, thing.box.x2 + reach)
        bottom = min(self.canvas.height, thing.box.y2 + reach)
        outside = np.ones((bottom - top, right - left), np.uint8)
        part = np.s_[thing.box.y1 - top : thing.box.y2 - top, thing.box.x1 - left :]
        outside[part][:, : thing.box.width] -= thing.mask
        if not thing.mask.any():
            return np.zeros(len(corners))
        field = cv2.distanceTransform(outside, cv2.DIST_L2, 3)
        y = np.clip(corners[:, 1] + label.height // 2 - top, 0, bottom - top - 1)
        found = [
            field[y, np.clip(corners[:, 0] + round(at * label.width) - left, 0, right - left - 1)]
            for at in SAMPLES
        ]
        return np.maximum(np.min(found, axis=0).astype(np.float64) - label.height / 2, 0)


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


def _candidates(box: Box, label: Size, gap: int, reach: int) -> NDArray[np.int64]:
    """The upper left corners to try: flush with the box at every side, and a lattice around it."""
    width, height = label
    middle = (box.x1 + box.x2 - width) // 2, (box.y1 + box.y2 - height) // 2
    xs = [box.x2 + gap, box.x1 - gap - width, middle[0], box.x1, box.x2 - width]
    ys = [middle[1], box.y1 - gap - height, box.y2 + gap, box.y1, box.y2 - height]
    step = max(1, height // 2)
    # A lattice over a large thing need not be finer than a fraction of it.
    steps = [max(step, side // 48) for side in (box.width, box.height)]
    lattice_x = np.arange(box.x1 - reach - width, box.x2 + reach, steps[0])
    lattice_y = np.arange(box.y1 - reach - height, box.y2 + reach, steps[1])
    return np.concatenate(
        [
            np.stack(np.meshgrid(x, y), axis=-1).reshape(-1, 2).astype(np.int64)
            for x, y in ((xs, ys), (lattice_x, lattice_y))
        ]
    )


def _free(corners: NDArray[np.int64], label: Size, placed: Sequence[Box]) -> NDArray[np.bool_]:
    free = np.ones(len(corners), np.bool_)
    x1, y1 = corners[:, 0], corners[:, 1]
    x2, y2 = x1 + label.width, y1 + label.height
    for other in placed:
        # One pixel between two labels, so that they are read as two.
        free &= (x2 < other.x1) | (x1 > other.x2) | (y2 < other.y1) | (y1 > other.y2)
    return free


def _distance(corners: NDArray[np.int64], label: Size, box: Box) -> NDArray[np.float64]:
    """The distances of labels to a box; 0 where they touch it."""
    x1, y1 = corners[:, 0], corners[:, 1]
    across = np.maximum(np.maximum(box.x1 - (x1 + label.width), x1 - box.x2), 0)
    down = np.maximum(np.maximum(box.y1 - (y1 + label.height), y1 - box.y2), 0)
    return np.hypot(across, down)


def _sums(integral: NDArray[Any], corners: NDArray[Any], label: Size) -> NDArray[np.float64]:
    """Sum under each label, from the integral image of what is outside of it 0."""
    height, width = integral.shape[0] - 1, integral.shape[1] - 1
    x1, x2 = (np.clip(corners[:, 0] + side, 0, width) for side in (0, label.width))
    y1, y2 = (np.clip(corners[:, 1] + side, 0, height) for side in (0, label.height))
    return np.asarray(integral[y2, x2] - integral[y1, x2] - integral[y2, x1] + integral[y1, x1])
