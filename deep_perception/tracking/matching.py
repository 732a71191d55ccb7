"""Which region of a keyframe is which known region: similarity of pairs, then assignment."""

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
    ColorSampler,
    Floats,
    color_difference,
    to_lab,
)

# CIELAB units by which a point's colour may differ on the same surface.
SAME_POINT = 14.0
# A match in place needs this overlap (IoU), and either this share of unchanged shared points or at
# most this colour difference.
MIN_IOU, MIN_AGREEING, MAX_DIFFERENCE = 0.1, 0.45, 9.0
# A match elsewhere needs a smaller colour difference, about the same area, and a distance of at
# most this many times the region's own size or this share of the image diagonal.
MOVED_DIFFERENCE, MOVED_AREA = 6.0, 1.6
REACH_SIZES, REACH_SHARE = 2.0, 0.12
# A region has not moved away if at least this share of its old place is unchanged.
STILL_THERE = 0.5
# Overlap scores higher than similarity at a distance, and a visible track higher than a lost one.
MOVED_SCORE, LOST_SCORE = 0.4, 0.8


class Match(NamedTuple):
    """A known region, a found one, their IoU (0..1), and the share of shared points that agree.

    Shared points are those of the known region that lie in the mask of the found one; they agree
    where their colour is unchanged.
    """

    known: int
    found: int
    iou: float
    agreement: float


@dataclass(frozen=True, eq=False)
class Similarity:
    """One found region against n known ones, each (n,): score (0: impossible), IoU, agreement."""

    score: Floats
    iou: Floats
    agreement: Floats

    @classmethod
    def none(cls) -> Similarity:
        """The similarity where no region is known."""
        nothing = np.zeros(0, np.float32)
        return cls(nothing, nothing, nothing)

    def match(self, known: int, found: int = 0) -> Match:
        """The match with one known region."""
        return Match(known, found, float(self.iou[known]), float(self.agreement[known]))

    def matches(self) -> list[Match]:
        """Every possible match."""
        return [self.match(int(known)) for known in np.flatnonzero(self.score)]


class KnownRegions:
    """The appearance of known regions where the camera now sees them, ready for comparison."""

    def __init__(
        self, appearances: Appearance, lost: Sequence[bool], sampler: ColorSampler
    ) -> None:
        """``sampler`` reads the image in which the regions are searched."""
        self._appearances = appearances
        self._weight = np.where(np.array(lost), LOST_SCORE, 1.0)
        self._visible = sampler.visible(appearances.points)
        self._pixels = sampler.pixels(appearances.points)
        # A level that one of the two exposures clips counts as no difference.
        dark = np.maximum(appearances.levels[:, 0], sampler.levels[0])[:, None, None]
        light = np.minimum(appearances.levels[:, 1], sampler.levels[1])[:, None, None]
        before, after = (
            to_lab(np.clip(bgr, dark, light))
            for bgr in (appearances.bgr, sampler.at(appearances.points))
        )
        difference = np.abs(before - after) @ WEIGHTS
        self._unchanged = (difference < SAME_POINT) & self._visible
        visible = np.count_nonzero(self._visible, axis=1)
        unchanged = np.count_nonzero(self._unchanged, axis=1)
        self._visible_area = appearances.area * visible / appearances.points.shape[1]
        self._moved_away = unchanged < STILL_THERE * np.maximum(1, visible)
        self._centre = appearances.points.mean(axis=1)
        self._low = appearances.points.min(axis=1)
        self._high = appearances.points.max(axis=1)

    def compare(self, found: Appearance, masks: Sequence[Mask]) -> list[Similarity]:
        """The similarity of each region found in the image to the known regions."""
        known = self._appearances
        iou, agreement = self._overlap(found, masks)
        difference = color_difference(found.quantiles[:, None], known.quantiles[None])
        alike = (agreement >= MIN_AGREEING) | (difference <= MAX_DIFFERENCE)
        in_place = np.where((iou >= MIN_IOU) & alike, iou * (0.5 + 0.5 * agreement), 0)
        height, width = masks[0].shape
        distance = np.linalg.norm(found.points.mean(axis=1)[:, None] - self._centre, axis=2)
        reach = np.maximum(REACH_SIZES * np.sqrt(known.area), REACH_SHARE * np.hypot(width, height))
        ratio = np.maximum(known.area, found.area[:, None]) / np.minimum(
            known.area, found.area[:, None]
        )
        possible = (
            self._moved_away
            & (difference <= MOVED_DIFFERENCE)
            & (ratio <= MOVED_AREA)
            & (distance < reach)
        )
        closeness = (1 - distance / reach) * (1 - difference / (2 * MOVED_DIFFERENCE))
        elsewhere = np.where(possible, MOVED_SCORE * closeness, 0)
        score = (self._weight * np.maximum(in_place, elsewhere)).astype(np.float32)
        return [Similarity(*row) for row in zip(score, iou, agreement, strict=True)]

    def _overlap(self, found: Appearance, masks: Sequence[Mask]) -> tuple[Floats, Floats]:
        """IoU and agreement of every found region (rows) and known region (columns)."""
        low, high = found.points.min(axis=1)[:, None], found.points.max(axis=1)[:, None]
        near = ((self._low <= high) & (self._high >= low)).all(axis=2)
        inside = np.zeros((len(masks), *self._pixels.shape), np.bool_)
        for row, mask in enumerate(masks):
            columns = np.flatnonzero(near[row])
            inside[row, columns] = mask.ravel().take(self._pixels[columns])
        shared = np.count_nonzero(inside & self._visible, axis=2)
        unchanged = np.count_nonzero(inside & self._unchanged, axis=2)
        agreement = unchanged / np.maximum(1, shared)
        intersection = shared / self._pixels.shape[1] * self._appearances.area
        union = self._visible_area + found.area[:, None] - intersection
        # Areas and points are rounded, so tiny regions could overlap by more than their area.
        iou = np.clip(intersection / np.maximum(union, 1e-6), 0, 1)
        return iou.astype(np.float32), agreement.astype(np.float32)


def assign(similarities: Sequence[Similarity]) -> list[Match]:
    """The one-to-one matches with the greatest sum of scores (Hungarian algorithm)."""
    if not similarities:
        return []
    score: Floats = np.stack([similarity.score for similarity in similarities])
    return [
        similarities[found].match(int(known), int(found))
        for found, known in zip(*linear_sum_assignment(score, maximize=True), strict=True)
        if score[found, known] > 0
    ]
