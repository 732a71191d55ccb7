"""In which order points are asked: it matters when a deadline or a limit ends the sweep early."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage
from deep_perception.points import Point
from deep_perception.settings import PointSettings

Importance = NDArray[np.float32]

# The size that Hou & Zhang found right for what catches the eye at a glance.
SALIENCY_SIDE_PX = 64
# Change is judged over patches, so that noise and a shift of a pixel count for little.
PATCH_PX = 15


def prioritize(
    points: Sequence[Point], image: BgrImage, previous: BgrImage | None, settings: PointSettings
) -> list[Point]:
    """The points in the order that the settings ask for; equals keep their order.

    ``image`` and ``previous`` are HxWx3 BGR working images. ``novelty`` without a previous image of
    the same size is the same as ``area``: everything is new.
    """
    if settings.order == "saliency":
        return _by(saliency(image), points)
    comparable = previous is not None and previous.shape == image.shape
    if settings.order == "novelty" and previous is not None and comparable:
        return _by(novelty(image, previous), points)
    return list(points)


def saliency(image: BgrImage) -> Importance:
    """What stands out from the statistics of the picture, HxW, any scale.

    The spectral residual of Hou & Zhang, "Saliency Detection: A Spectral Residual Approach",
    CVPR 2007.
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SALIENCY_SIDE_PX, SALIENCY_SIDE_PX), interpolation=cv2.INTER_AREA)
    spectrum = np.fft.fft2(small)
    # One grey level, so that the empty spectrum of a flat picture stays finite.
    amplitude = np.log(np.abs(spectrum) + 1.0).astype(np.float32)
    residual = amplitude - cv2.blur(amplitude, (3, 3))
    found = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(found.astype(np.float32), (0, 0), 2.5)
    return np.asarray(cv2.resize(smooth, (width, height)), np.float32)


def novelty(image: BgrImage, previous: BgrImage) -> Importance:
    """How much each place changed since another picture of the same size, HxW grey levels.

    A change of exposure alone is no change: the brightness of both is made equal first.
    """
    now, before = (
        cv2.cvtColor(each, cv2.COLOR_BGR2GRAY).astype(np.float32) for each in (image, previous)
    )
    gain = float(now.mean()) / max(float(before.mean()), 1.0)
    return cv2.blur(np.abs(now - np.clip(before * gain, 0, 255)), (PATCH_PX, PATCH_PX))


def _by(importance: Importance, points: Sequence[Point]) -> list[Point]:
    return sorted(points, key=lambda point: -float(importance[point.y, point.x]))
