"""How the camera moved, and how its exposure changed, between two keyframes.

The motion of the image is one homography, which is exact for a camera that rotates or sees a plane
and an approximation for everything else. It is estimated from ORB features (Rublee et al. 2011),
also where only half of the image overlaps, and by phase correlation where there are no corners. The
candidate that explains the new image best is taken, so a wrong one is never worse than none.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage, fitted_size
from deep_perception.masks import Size, size_of

Matrix = NDArray[np.float64]

# Long side in pixels of the grey image in which corners are detected; candidates are compared, and
# the exposure is measured, on an image of half that size.
SIDE = 320
FEATURES = 400
# OpenCV cannot detect corners or shifts in a smaller image.
MIN_SIDE = 48
# Inliers agree on one motion by less than this many pixels of the grey image; unrelated photographs
# have up to 5 of them.
INLIER_PX, MIN_INLIERS = 1.0, 15
# Fewer inliers, in one corner of the image, would distort the rest of it.
MIN_FOR_HOMOGRAPHY = 40
# Unrelated photographs correlate less than this; the same view with a crowd in it correlates more.
MIN_CORRELATION = 0.5
# A candidate is compared only if this share of the new image overlaps the old one.
MIN_SHARED = 0.15
# A pixel supports an exposure if its grey level is off the line by less than this.
EXPOSURE_TOLERANCE = 8.0
# With this decay a lasting change of exposure is forgotten within about fifty keyframes.
RELAX = 0.98


@dataclass(frozen=True, eq=False)
class Exposure:
    """Grey levels of the new image = gain x those of the old image + offset."""

    gain: float = 1.0
    offset: float = 0.0

    def after(self, earlier: Exposure) -> Exposure:
        """Compose: from the image where ``earlier`` starts to the image where this one ends."""
        return Exposure(self.gain * earlier.gain, self.gain * earlier.offset + self.offset)

    def relaxed(self) -> Exposure:
        """Decay towards no change, so that small errors of many frames do not add up."""
        return Exposure(float(self.gain**RELAX), self.offset * RELAX)


@dataclass(frozen=True, eq=False)
class Motion:
    """From one keyframe to the next: ``matrix`` (3x3) maps old working pixels to new ones.

    ``overlap`` is false if there is no evidence that both show the same place.
    """

    matrix: Matrix
    exposure: Exposure
    overlap: bool


@dataclass(frozen=True, eq=False)
class ViewFeatures:
    """What is kept of a keyframe in order to estimate the motion to the next one.

    ``size`` is that of the working image, ``grey`` has the long side SIDE / 2, ``corners`` (n, 2)
    are in pixels of ``grey``, and ``descriptors`` (n, 32) are those of ORB.
    """

    size: Size
    grey: NDArray[np.uint8]
    corners: NDArray[np.float32]
    descriptors: NDArray[np.uint8]

    @classmethod
    def of(cls, image: BgrImage) -> ViewFeatures:
        """The features of an HxWx3 BGR image at working size."""
        size = size_of(image)
        small = fitted_size(size.width, size.height, SIDE, SIDE)
        grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)
        grey = cv2.resize(grey, small, interpolation=cv2.INTER_AREA)
        # Dim and smooth rooms have few corners at the default threshold, so it is set lower.
        orb = cv2.ORB.create(
            nfeatures=FEATURES, nlevels=6, edgeThreshold=15, patchSize=31, fastThreshold=7
        )
        keypoints, descriptors = (
            orb.detectAndCompute(grey, None) if min(small) >= MIN_SIDE else ((), None)
        )
        half = Size(*fitted_size(size.width, size.height, SIDE // 2, SIDE // 2))
        corners = np.array([keypoint.pt for keypoint in keypoints], np.float32).reshape(-1, 2)
        # Whole coordinates are pixel centres.
        corners = (corners + 0.5) * np.divide(half, small, dtype=np.float32) - 0.5
        if descriptors is None:
            descriptors = np.empty((0, 32), np.uint8)
        grey = cv2.resize(grey, half, interpolation=cv2.INTER_AREA)
        return cls(size, grey.astype(np.uint8), corners, descriptors.astype(np.uint8))

    @property
    def scale(self) -> Matrix:
        """The 3x3 matrix from pixels of the working image to those of ``grey``."""
        return _resize_matrix(self.size, size_of(self.grey))


def estimate(old: ViewFeatures, new: ViewFeatures) -> Motion:
    """Estimate the motion from one keyframe to the next; their sizes may differ."""
    still = _resize_matrix(size_of(old.grey), size_of(new.grey))
    best, best_correlation, best_inliers = still, _correlation(old, new, still), 0
    for candidate, inliers in _candidates(old, new, still):
        correlation = _correlation(old, new, candidate)
        if correlation > best_correlation:
            best, best_correlation, best_inliers = candidate, correlation, inliers
    overlap = best_correlation >= MIN_CORRELATION or best_inliers >= MIN_INLIERS
    matrix = np.linalg.inv(new.scale) @ best @ old.scale
    return Motion(matrix, _exposure(old, new, best) if overlap else Exposure(), overlap)


def _resize_matrix(old: Size, new: Size) -> Matrix:
    """The 3x3 matrix from pixels of one size to those of another; pixel centres are integers."""
    x, y = new.width / old.width, new.height / old.height
    return np.array([[x, 0, (x - 1) / 2], [0, y, (y - 1) / 2], [0, 0, 1]])


def _candidates(
    old: ViewFeatures, new: ViewFeatures, still: Matrix
) -> Iterator[tuple[Matrix, int]]:
    """Yield possible motions of the grey image, each with its number of inliers."""
    if len(old.corners) >= MIN_INLIERS and len(new.corners) >= MIN_INLIERS:
        matcher = cv2.BFMatcher(cv2.NORM_HAMMING, crossCheck=True)
        matches = matcher.match(old.descriptors, new.descriptors)
        source = old.corners[[match.queryIdx for match in matches]]
        target = new.corners[[match.trainIdx for match in matches]]
        if len(matches) >= MIN_INLIERS:
            affine, inliers = cv2.estimateAffinePartial2D(
                source, target, method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX
            )
            if affine is not None:
                matrix = np.vstack([affine, [0, 0, 1]])
                if _is_plausible(matrix, old):
                    yield matrix, int(np.count_nonzero(inliers))
            homography, inliers = cv2.findHomography(
                source, target, method=cv2.RANSAC, ransacReprojThreshold=INLIER_PX
            )
            if homography is not None and np.count_nonzero(inliers) >= MIN_FOR_HOMOGRAPHY:
                matrix = np.asarray(homography, np.float64)
                if _is_plausible(matrix, old):
                    yield matrix, int(np.count_nonzero(inliers))
    if min(new.grey.shape) < MIN_SIDE // 2:
        return
    warped = cv2.warpPerspective(old.grey, still, size_of(new.grey))
    window = cv2.createHanningWindow(size_of(new.grey), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(warped.astype(np.float32), new.grey.astype(np.float32), window)
    yield np.array([[1, 0, x], [0, 1, y], [0, 0, 1.0]]) @ still, 0


def _is_plausible(matrix: Matrix, old: ViewFeatures) -> bool:
    """Whether the matrix neither folds nor mirrors the image, nor tilts or scales it too much."""
    width, height = size_of(old.grey)
    corners = np.array([[0, 0, 1], [width, 0, 1], [width, height, 1], [0, height, 1]]) @ matrix.T
    depth = corners[:, 2]
    if depth.min() <= 0 or depth.max() > 2 * depth.min():
        return False
    flat = (corners[:, :2] / depth[:, None]).astype(np.float32)
    growth = cv2.contourArea(flat, oriented=True) / (width * height)
    return cv2.isContourConvex(flat) and 1 / 9 < growth < 9


def _correlation(old: ViewFeatures, new: ViewFeatures, matrix: Matrix) -> float:
    """Correlation (-1..1) of the moved old image with the new one where they overlap."""
    moved, shared = _move(old, new, matrix)
    if np.count_nonzero(shared) < MIN_SHARED * shared.size:
        return -1.0
    one, other = moved[shared].astype(np.float32), new.grey[shared].astype(np.float32)
    one -= one.mean()
    other -= other.mean()
    spread = float(np.sqrt((one @ one) * (other @ other)))
    if spread > one.size:
        return float(one @ other) / spread
    # Without contrast both images must be flat, as those of a covered camera are.
    return 1.0 if max(one @ one, other @ other) < 4 * one.size else 0.0


def _move(
    old: ViewFeatures, new: ViewFeatures, matrix: Matrix
) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """The old grey image in the pixels of the new one, and where it has a value."""
    size = size_of(new.grey)
    # Zero marks pixels outside the old image, so no grey level may be zero.
    moved = cv2.warpPerspective(np.maximum(old.grey, 1), matrix, size).astype(np.uint8)
    return moved, moved > 0


def _exposure(old: ViewFeatures, new: ViewFeatures, matrix: Matrix) -> Exposure:
    """The line that fits most pairs of grey levels; moving objects are outliers."""
    moved, shared = _move(old, new, matrix)
    # Every fifth pixel leaves some thousand, which is enough for one line.
    before = moved[shared][::5].astype(np.float64)
    after = new.grey[shared][::5].astype(np.float64)
    # Clipped pixels follow no line.
    usable = (before > 8) & (before < 247) & (after > 8) & (after < 247)
    before, after = before[usable], after[usable]
    best = Exposure()
    if before.size < 100:
        return best
    most = 1.05 * _support(before, after, best)
    line = scaled = Exposure(float(np.median(after / before)))
    for _ in range(4):
        near = np.abs(line.gain * before + line.offset - after) < 2 * EXPOSURE_TOLERANCE
        x, y = before[near], after[near]
        if x.size < 100 or x.std() < 2:
            break
        gain = float(((x - x.mean()) * (y - y.mean())).mean() / x.var())
        line = Exposure(gain, float(y.mean() - gain * x.mean()))
    for candidate in (scaled, line):
        support = _support(before, after, candidate)
        if 0.4 < candidate.gain < 2.5 and support > most:
            best, most = candidate, support
    return best


def _support(before: Matrix, after: Matrix, exposure: Exposure) -> float:
    """How many pairs of grey levels the exposure explains."""
    residual = np.abs(exposure.gain * before + exposure.offset - after)
    return float(np.count_nonzero(residual < EXPOSURE_TOLERANCE))
