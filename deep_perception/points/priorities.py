"""The order of the prompt points, which matters if a deadline or a limit ends the sweep early."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage
from deep_perception.points import Point
from deep_perception.settings import PointSettings

Importance = NDArray[np.float32]

# The image size that Hou & Zhang recommend for saliency at a glance.
SALIENCY_SIDE_PX = 64
# A change is averaged over patches, so that noise and a shift by a pixel have little effect.
PATCH_PX = 15


def prioritize(
    points: Sequence[Point], image: BgrImage, previous: BgrImage | None, settings: PointSettings
) -> list[Point]:
    """The points in the order of ``points.order``; points of equal importance keep their order.

    ``image`` and ``previous`` are HxWx3 BGR working images. Without a previous image of the same
    size, ``novelty`` is the same as ``area``, because everything is new.
    """
    if settings.order == "saliency":
        return _by_importance(points, saliency(image))
    if settings.order == "novelty" and previous is not None and previous.shape == image.shape:
        return _by_importance(points, novelty(image, previous))
    return list(points)


def saliency(image: BgrImage) -> Importance:
    """How much each pixel stands out from the statistics of an HxWx3 BGR image; HxW, any scale.

    This is the spectral residual of Hou & Zhang, "Saliency Detection: A Spectral Residual
    Approach", CVPR 2007.
    """
    height, width = image.shape[:2]
    grey = cv2.cvtColor(image, cv2.COLOR_BGR2GRAY).astype(np.float32)
    small = cv2.resize(grey, (SALIENCY_SIDE_PX, SALIENCY_SIDE_PX), interpolation=cv2.INTER_AREA)
    spectrum = np.fft.fft2(small)
    # One grey level is added, so that the empty spectrum of a flat image stays finite.
    amplitude = np.log(np.abs(spectrum) + 1.0).astype(np.float32)
    residual = amplitude - cv2.blur(amplitude, (3, 3))
    salient = np.abs(np.fft.ifft2(np.exp(residual + 1j * np.angle(spectrum)))) ** 2
    smooth = cv2.GaussianBlur(salient.astype(np.float32), (0, 0), 2.5)
    return np.asarray(cv2.resize(smooth, (width, height)), np.float32)


def novelty(image: BgrImage, previous: BgrImage) -> Importance:
    """How much each pixel changed since a previous image of the same size; HxW, grey levels.

    The brightness of both images is made equal first, so that exposure alone is no change.
    """
    now, before = (
        cv2.cvtColor(frame, cv2.COLOR_BGR2GRAY).astype(np.float32) for frame in (image, previous)
    )
    gain = float(now.mean()) / max(float(before.mean()), 1.0)
    return cv2.blur(np.abs(now - np.clip(before * gain, 0, 255)), (PATCH_PX, PATCH_PX))


def _by_importance(points: Sequence[Point], importance: Importance) -> list[Point]:
    return sorted(points, key=lambda point: -float(importance[point.y, point.x]))
