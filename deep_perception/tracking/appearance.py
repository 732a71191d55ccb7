"""The appearance of a region that is kept between keyframes: where it was and its colours.

Neither the mask nor the image is kept, but POINTS of the region's pixels with their colours: points
follow any motion exactly, take 3 kB, and every overlap and similarity is a count over them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception import colors
from deep_perception.images import BgrImage
from deep_perception.masks import Mask
from deep_perception.tracking.motion import Exposure, Matrix

Floats = NDArray[np.float32]

POINTS = 128
QUANTILES = 16
# The outer quantiles do not count, because they depend on the pixels at the rim of the mask.
INNER = slice(2, 14)
# For CIELAB L, a and b: lightness counts less than hue, because shadows move.
WEIGHTS = np.array([0.6, 1.0, 1.0], np.float32)
# Pixels: coarser than the error of the motion, finer than the regions.
BLUR = 7
# Side in pixels of the square whose image under the motion gives the local change of area.
STEP = 8.0
# Pixels, and square pixels: what leaves the view of a camera that goes on turning moves away faster
# and faster, beyond what a float holds.
FARTHEST, SMALLEST, LARGEST = 1e9, 1e-6, 1e12
# Points are taken from every third pixel of every third row if these are enough.
COARSE = 3
# Spread evenly, then each shifted by the golden ratio: in a mask with as many rows as there are
# points, all points would otherwise lie in one column.
SPREAD = (np.arange(POINTS) + np.arange(POINTS) * (5**0.5 - 1) / 2 % 1) / POINTS


@dataclass(frozen=True, eq=False)
class Appearance:
    """The appearance of n regions in one keyframe.

    ``points`` (n, POINTS, 2) are x, y of some of their pixels and ``bgr`` (n, POINTS, 3) the
    colours there, corrected to the exposure of the viewpoint's first keyframe. ``levels`` (n, 2)
    are the darkest and the lightest corrected level that this keyframe could show. ``quantiles``
    (n, QUANTILES, 3) are those of CIELAB L, a and b, and ``area`` (n,) is in pixels.
    """

    points: Floats
    bgr: BgrImage
    levels: BgrImage
    quantiles: Floats
    area: Floats

    @classmethod
    def of(cls, masks: Sequence[Mask], sampler: ColorSampler) -> Appearance:
        """The appearance of non-empty masks (HxW bool) of the image."""
        points = np.array([_points(mask) for mask in masks], np.float32).reshape(-1, POINTS, 2)
        bgr = sampler.at(points)
        ranks = ((np.arange(QUANTILES) + 0.5) * POINTS / QUANTILES).astype(np.intp)
        quantiles: Floats = np.sort(to_lab(bgr), axis=1)[:, ranks]
        area = [np.count_nonzero(mask) for mask in masks]
        levels = np.tile(sampler.levels, (len(masks), 1))
        return cls(points, bgr, levels, quantiles, np.array(area, np.float32))

    @classmethod
    def join(cls, parts: Sequence[Appearance]) -> Appearance:
        """Concatenate appearances; at least one is needed."""
        return cls(
            np.concatenate([part.points for part in parts]),
            np.concatenate([part.bgr for part in parts]),
            np.concatenate([part.levels for part in parts]),
            np.concatenate([part.quantiles for part in parts]),
            np.concatenate([part.area for part in parts]),
        )

    def one(self, index: int) -> Appearance:
        """Copy the appearance of one region, so that the others can be freed."""
        only = slice(index, index + 1)
        return Appearance(
            self.points[only].copy(),
            self.bgr[only].copy(),
            self.levels[only].copy(),
            self.quantiles[only].copy(),
            self.area[only].copy(),
        )

    def moved(self, matrix: Matrix) -> Appearance:
        """The appearance with points and areas where a camera motion (3x3) takes them."""
        centre = self.points.mean(axis=1, keepdims=True)
        # The growth is taken at the region: under a tilt it differs across the image.
        corner = centre + np.array([[0, 0], [STEP, 0], [0, STEP]], np.float32)
        moved = _transform(np.concatenate([self.points, corner], axis=1), matrix)
        right, down = moved[:, -2] - moved[:, -3], moved[:, -1] - moved[:, -3]
        growth = np.abs(right[:, 0] * down[:, 1] - right[:, 1] * down[:, 0]) / STEP**2
        area = np.clip(self.area * np.clip(growth, 1e-3, 1e3), SMALLEST, LARGEST)
        return Appearance(
            moved[:, :-3], self.bgr, self.levels, self.quantiles, area.astype(np.float32)
        )


class ColorSampler:
    """Reads colours of one keyframe, corrected to the exposure of the first keyframe."""

    def __init__(self, image: BgrImage, exposure: Exposure) -> None:
        """``exposure`` maps grey levels of the first keyframe to those of ``image`` (HxWx3 BGR)."""
        self._smooth = cv2.blur(image, (BLUR, BLUR))
        levels = (np.arange(256) - exposure.offset) / exposure.gain
        self._levels = np.clip(np.rint(levels), 0, 255).astype(np.uint8)
        # Blurring brings clipped pixels a little inside the range.
        self.levels = self._levels[[4, 251]]

    def at(self, points: Floats) -> BgrImage:
        """BGR (..., 3) at points (..., 2), which are clamped to the image."""
        return self._levels.take(self._smooth.reshape(-1, 3).take(self.pixels(points), axis=0))

    def pixels(self, points: Floats) -> NDArray[np.int32]:
        """The index of the nearest pixel in the flattened image."""
        height, width = self._smooth.shape[:2]
        x = np.clip(np.rint(points[..., 0]), 0, width - 1)
        y = np.clip(np.rint(points[..., 1]), 0, height - 1)
        return (y * width + x).astype(np.int32)

    def visible(self, points: Floats) -> NDArray[np.bool_]:
        """Which points lie in the image."""
        height, width = self._smooth.shape[:2]
        x, y = points[..., 0], points[..., 1]
        return (x > -0.5) & (y > -0.5) & (x < width - 0.5) & (y < height - 0.5)


def to_lab(bgr: BgrImage) -> Floats:
    """CIELAB of BGR colours in an array of any shape (..., 3)."""
    if bgr.size == 0:
        return np.zeros(bgr.shape, np.float32)
    return colors.to_lab(bgr.reshape(1, -1, 3)).reshape(bgr.shape)


def color_difference(one: Floats, other: Floats) -> Floats:
    """The difference of regions' colours in CIELAB units, from quantiles (..., QUANTILES, 3).

    It is the earth mover's distance of each channel without the outer quantiles.
    """
    difference = np.abs(one - other)[..., INNER, :].mean(axis=-2) @ WEIGHTS
    return difference.astype(np.float32)


def _points(mask: Mask) -> Floats:
    step = COARSE
    rows, columns = np.divmod(np.flatnonzero(mask[::step, ::step]), -(-mask.shape[1] // step))
    if rows.size < POINTS:
        step = 1
        rows, columns = np.divmod(np.flatnonzero(mask), mask.shape[1])
    chosen = (SPREAD * rows.size).astype(np.intp)
    points = np.stack([columns[chosen], rows[chosen]], axis=1) * step
    return points.astype(np.float32)


def _transform(points: Floats, matrix: Matrix) -> Floats:
    homogeneous = points.astype(np.float64) @ matrix[:, :2].T + matrix[:, 2]
    # A point behind the camera or on its horizon only has to end up far outside the image.
    moved: Floats = homogeneous[..., :2] / np.maximum(homogeneous[..., 2:], 1e-3)
    return np.clip(moved, -FARTHEST, FARTHEST).astype(np.float32)
