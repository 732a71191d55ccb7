"""Which region of a keyframe is which of those known before: likeness of pairs, then assignment."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy.optimize import linear_sum_assignment

from deep_perception.masks import Mask
from deep_perception.tracking.appearance import (
    WEIGHTS,
    Appearance,
    Colours,
    Floats,
    colour_difference,
    to_lab,
)

# CIELAB units that a point's colour may be off and still be the same surface.
SAME_POINT = 14.0
# In place: least overlap (IoU), and how alike: this share of the shared points, or the colours.
MIN_IOU, MIN_AGREEING, MAX_DIFFERENCE = 0.1, 0.45, 9.0
# Elsewhere: more alike, of about the same size, and no farther than this many times its own size
# or this share of the picture's diagonal.
MOVED_DIFFERENCE, MOVED_AREA = 6.0, 1.6
REACH_SIZES, REACH_SHARE = 2.0, 0.12
# An object whose old place looks as before by this share has not moved away.
STILL_THERE = 0.5
# Overlap is worth more than likeness at a distance, and what was seen last more than what was lost.
MOVED_WORTH, LOST_WORTH = 0.4, 0.8


class Match(NamedTuple):
    """A pair: its overlap (IoU 0..1) and the share of the shared points of the same colour."""

    known: int
    found: int
    iou: float
    agreeing: float


@dataclass(frozen=True, eq=False)
class Likeness:
    """One region against every known look: what a pair is worth (0: impossible), IoU, agreement."""

    worth: Floats
    iou: Floats
    agreeing: Floats

    @classmethod
    def none(cls) -> Likeness:
        """Where nothing is known."""
        nothing = np.zeros(0, np.float32)
        return cls(nothing, nothing, nothing)

    def pair(self, known: int, found: int = 0) -> Match:
        """The numbers of one pair."""
        return Match(known, found, float(self.iou[known]), float(self.agreeing[known]))

    def pairs(self) -> list[Match]:
        """Every possible pair."""
        return [self.pair(int(known)) for known in np.flatnonzero(self.worth)]


class Known:
    """The looks known before, moved to where the camera now sees them, against a new picture."""

    def __init__(self, looks: Appearance, lost: Sequence[bool], colours: Colours) -> None:
        self._looks = looks
        self._worth = np.where(np.array(lost), LOST_WORTH, 1.0)
        self._visible = colours.visible(looks.points)
        self._at = colours.pixels(looks.points)
        # A level that one of the two exposures could not show is no difference.
        dark = np.maximum(looks.levels[:, 0], colours.levels[0])[:, None, None]
        light = np.minimum(looks.levels[:, 1], colours.levels[1])[:, None, None]
        before, after = (
            to_lab(np.clip(bgr, dark, light)) for bgr in (looks.bgr, colours.at(looks.points))
        )
        difference = np.abs(before - after) @ WEIGHTS
        self._same = (difference < SAME_POINT) & self._visible
        seen = np.count_nonzero(self._visible, axis=1)
        self._visible_area = looks.area * seen / looks.points.shape[1]
        self._moved_away = np.count_nonzero(self._same, axis=1) < STILL_THERE * np.maximum(1, seen)
        self._centre = looks.points.mean(axis=1)
        self._low, self._high = looks.points.min(axis=1), looks.points.max(axis=1)

    def compare(self, looks: Appearance, masks: Sequence[Mask]) -> list[Likeness]:
        """How like the known looks each region of the new picture is."""
        known = self._looks
        iou, agreeing = self._overlap(looks, masks)
        difference = colour_difference(looks.quantiles[:, None], known.quantiles[None])
        alike = (agreeing >= MIN_AGREEING) | (difference <= MAX_DIFFERENCE)
        in_place = np.where((iou >= MIN_IOU) & alike, iou * (0.5 + 0.5 * agreeing), 0)
        height, width = masks[0].shape
        distance = np.linalg.norm(looks.points.mean(axis=1)[:, None] - self._centre, axis=2)
        reach = np.maximum(REACH_SIZES * np.sqrt(known.area), REACH_SHARE * np.hypot(width, height))
        ratio = np.maximum(known.area, looks.area[:, None]) / np.minimum(
            known.area, looks.area[:, None]
        )
        possible = (
            self._moved_away
            & (difference <= MOVED_DIFFERENCE)
            & (ratio <= MOVED_AREA)
            & (distance < reach)
        )
        closeness = (1 - distance / reach) * (1 - difference / (2 * MOVED_DIFFERENCE))
        elsewhere = np.where(possible, MOVED_WORTH * closeness, 0)
        worth = (self._worth * np.maximum(in_place, elsewhere)).astype(np.float32)
        return [Likeness(*row) for row in zip(worth, iou, agreeing, strict=True)]

    def _overlap(self, looks: Appearance, masks: Sequence[Mask]) -> tuple[Floats, Floats]:
        """IoU and agreeing share of every region (rows) and known look (columns)."""
        low, high = looks.points.min(axis=1)[:, None], looks.points.max(axis=1)[:, None]
        near = ((self._low <= high) & (self._high >= low)).all(axis=2)
        inside = np.zeros((len(masks), *self._at.shape), np.bool_)
        for row, mask in enumerate(masks):
            columns = np.flatnonzero(near[row])
            inside[row, columns] = mask.ravel().take(self._at[columns])
        shared = np.count_nonzero(inside & self._visible, axis=2)
        same = np.count_nonzero(inside & self._same, axis=2)
        agreeing = same / np.maximum(1, shared)
        pixels = shared / self._at.shape[1] * self._looks.area
        union = self._visible_area + looks.area[:, None] - pixels
        # Areas and points are rounded: tiny regions could overlap by more than all.
        iou = np.clip(pixels / np.maximum(union, 1e-6), 0, 1)
        return iou.astype(np.float32), agreeing.astype(np.float32)


def assign(likenesses: Sequence[Likeness]) -> list[Match]:
    """The one-to-one pairs of the greatest worth, of the regions in this order."""
    if not likenesses:
        return []
    worth: Floats = np.stack([likeness.worth for likeness in likenesses])
    return [
        likenesses[found].pair(int(known), int(found))
        for found, known in zip(*linear_sum_assignment(worth, maximize=True), strict=True)
        if worth[found, known] > 0
    ]
