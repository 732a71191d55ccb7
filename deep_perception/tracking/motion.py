"""How the camera moved, and how its exposure changed, between two keyframes.

The picture's own motion is one homography: exact for a camera that turns or looks at a plane, and
a first guess for everything else. ORB finds it (Rublee et al. 2011), also over half a picture;
phase correlation helps where there are no corners. Of the candidates the one that explains the
new picture best is taken, so a wrong one is never worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage, fitted_size
from deep_perception.masks import Size, size_of

Matrix = NDArray[np.float64]

# Long side of the grey picture that corners are found on, pixels; candidates are compared, and
# the exposure is measured, on one of half that size.
SIDE = 320
FEATURES = 400
# OpenCV cannot look for corners or shifts in a smaller picture.
MIN_SIDE = 48
# Matches that agree on one motion by less than this many pixels of the grey picture; on
# unrelated photographs up to 5 do.
INLIER_PX, MIN_INLIERS = 1.0, 15
# Fewer, in one corner of the picture, would bend the rest of it.
MIN_FOR_TILT = 40
# Unrelated photographs correlate less than this, the same view with a crowd in it more.
ALIKE = 0.5
# A candidate must see at least this share of the old picture to be compared.
MIN_SHARED = 0.15
# Grey levels that a pixel may be off the exposure's line and still count for it.
EXPOSURE_TOLERANCE = 8.0
# A lasting change of exposure is forgotten within some fifty keyframes.
RELAX = 0.98


@dataclass(frozen=True, eq=False)
class Exposure:
    """Grey levels of the new picture = gain x those of the old + offset."""

    gain: float = 1.0
    offset: float = 0.0

    def after(self, earlier: Exposure) -> Exposure:
        """From the picture that ``earlier`` starts at to the one that this ends at."""
        return Exposure(self.gain * earlier.gain, self.gain * earlier.offset + self.offset)

    def relaxed(self) -> Exposure:
        """A little nearer to none: small errors of many pictures must not add up for ever."""
        return Exposure(float(self.gain**RELAX), self.offset * RELAX)


@dataclass(frozen=True, eq=False)
class Motion:
    """From one keyframe to the next: ``matrix`` takes old working pixels to new ones (3x3).

    ``overlap`` is false when nothing says that the two show the same place.
    """

    matrix: Matrix
    exposure: Exposure
    overlap: bool


@dataclass(frozen=True, eq=False)
class View:
    """What is kept of a keyframe to find the motion to the next one."""

    size: Size
    grey: NDArray[np.uint8]  # long side SIDE / 2
    corners: NDArray[np.float32]  # (n, 2), pixels of ``grey``
    descriptors: NDArray[np.uint8]

    @classmethod
    def of(cls, picture: BgrImage) -> View:
        """Of an HxWx3 BGR picture at working size."""
        size = size_of(picture)
        small = fitted_size(size.width, size.height, SIDE, SIDE)
        grey = cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY)
        grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
        # A low threshold: dim and smooth rooms have few corners of the default contrast.
        orb = cv2.ORB.create(
            nfeatures=FEATURES, nlevels=6, edgeThreshold=15, patchSize=31, fastThreshold=7
        )
        keypoints, descriptors = (
            orb.detectAndCompute(grey, None) if min(small) >= MIN_SIDE else ((), None)
        )
        half = Size(*fitted_size(size.width, size.height, SIDE // 2, SIDE // 2))
        corners = np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2)
        # Pixel centres, not corners, are at whole coordinates.
        corners = (corners + 0.5) * np.divide(half, small, dtype=np.float32) - 0.5
        if descriptors is None:
            descriptors = np.empty((0, 32), np.uint8)
        grey = cv2.resize(grey, half, interpolation=cv2.INTER_AREA)
        return cls(size, grey.astype(np.uint8), corners, descriptors.astype(np.uint8))

    @property
    def scale(self) -> Matrix:
        """From working pixels to those of the grey picture."""
        return _stretch(self.size, size_of(self.grey))


def estimate(old: View, new: View) -> Motion:
    """The motion from one keyframe to the next; their sizes may differ."""
    old_small, new_small = size_of(old.grey), size_of(new.grey)
    still = _stretch(old_small, new_small)
    best, best_likeness, inliers = still, _likeness(old, new, still), 0
    for candidate, agreeing in _candidates(old, new, still):
        likeness = _likeness(old, new, candidate)
        if likeness > best_likeness:
            best, best_likeness, inliers = candidate, likeness, agreeing
    overlap = best_likeness >= ALIKE or inliers >= MIN_INLIERS
    matrix = np.linalg.inv(new.scale) @ best @ old.scale
    return Motion(matrix, _exposure(old, new, best) if overlap else Exposure(), overlap)


def _stretch(old: Size, new: Size) -> Matrix:
    """From the pixels of one size to those of another; whole coordinates are pixel centres."""
    x, y = new.width / old.width, new.height / old.height
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _candidates(old: View, new: View, still: Matrix) -> Iterator[tuple[Matrix, int]]:
    """Motions of the grey picture and how many matches agree on each."""
    if len(old.corners) >= MIN_INLIERS and len(new.corners) >= MIN_INLIERS:
        matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
        matches = matcher.match(old.descriptors, new.descriptors)
        source = old.corners[[match.queryIdx for match in matches]]
        target = new.corners[[match.trainIdx for match in matches]]
        if len(matches) >= MIN_INLIERS:
            similarity, kept = cv2.estimateAffinePartial2D(
                source, target, method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX
            )
            if similarity is not None:
                yield from _sane(np.vstack([similarity, [0, 0, 1]]), kept, old)
            homography, kept = cv2.findHomography(
                source, target, method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX
            )
            if homography is not None and np.count_nonzero(kept) >= MIN_FOR_TILT:
                yield from _sane(np.asarray(homography, np.float64), kept, old)
    if min(new.grey.shape) < MIN_SIDE // 2:
        return
    warped = cv2.warpPerspective(old.grey, still, size_of(new.grey))
    window = cv2.createHanningWindow(size_of(new.grey), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(warped.astype(np.float32), new.grey.astype(np.float32), window)
    yield np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]) @ still, 0


def _sane(matrix: Matrix, kept: Any, old: View) -> Iterator[tuple[Matrix, int]]:
    """The matrix, unless it folds, mirrors or tilts the picture as no camera does in a second."""
    width, height = size_of(old.grey)
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) @ matrix.T
    depth = corners[:, 2]
    if depth.min() <= 0 or depth.max() > 2 * depth.min():
        return
    flat = (corners[:, :2] / depth[:, None]).astype(np.float32)
    growth = cv2.contourArea(flat, oriented=True) / (width * height)
    if cv2.isContourConvex(flat) and 1 / 9 < growth < 9:
        yield matrix, int(np.count_nonzero(kept))


def _likeness(old: View, new: View, matrix: Matrix) -> float:
    """Correlation (-1..1) of the moved old picture with the new one where they overlap."""
    moved, shared = _moved(old, new, matrix)
    if np.count_nonzero(shared) < MIN_SHARED * shared.size:
        return -1.0
    one, other = moved[shared].astype(np.float32), new.grey[shared].astype(np.float32)
    one -= one.mean()
    other -= other.mean()
    spread = float(np.sqrt((one @ one) * (other @ other)))
    if spread > one.size:
        return float(one @ other) / spread
    # A covered camera is like a covered camera only.
    return 1.0 if max(one @ one, other @ other) < 4 * one.size else 0.0


def _moved(old: View, new: View, matrix: Matrix) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    size = size_of(new.grey)
    # Zero marks what the old picture did not see, so no grey level may be zero.
    moved = cv2.warpPerspective(np.maximum(old.grey, 1), matrix, size).astype(np.uint8)
    return moved, moved > 0


def _exposure(old: View, new: View, matrix: Matrix) -> Exposure:
    """The line through most pairs of grey levels: moving things are not on it."""
    moved, shared = _moved(old, new, matrix)
    # Some thousand pixels are enough for one line.
    before = moved[shared][::5].astype(np.float64)
    after = new.grey[shared][::5].astype(np.float64)
    # Clipped pixels follow no line.
    usable = (before > 8) & (before < 247) & (after > 8) & (after < 247)
    before, after = before[usable], after[usable]
    best = Exposure()
    if before.size < 100:
        return best
    most = 1.05 * _on_line(before, after, best)
    line = scaled = Exposure(float(np.median(after / before)))
    for _ in range(4):
        near = np.abs(line.gain * before + line.offset - after) < 2 * EXPOSURE_TOLERANCE
        x, y = before[near], after[near]
        if x.size < 100 or x.std() < 2:
            break
        gain = float(((x - x.mean()) * (y - y.mean())).mean() / x.var())
        line = Exposure(gain, float(y.mean() - gain * x.mean()))
    for candidate in (scaled, line):
        agreeing = _on_line(before, after, candidate)
        if 0.4 < candidate.gain < 2.5 and agreeing > most:
            best, most = candidate, agreeing
    return best


def _on_line(before: Matrix, after: Matrix, exposure: Exposure) -> float:
    residual = np.abs(exposure.gain * before + exposure.offset - after)
    return float(np.count_nonzero(residual < EXPOSURE_TOLERANCE))
