"""Keyframe selection for a 640x480 frame, against SSIM with the last keyframe.

SSIM is the usual measure, computed as in its paper with 11x11 Gaussian windows over the grey image.
The frames are a photograph in light that flickers by a quarter, with a moving object.
"""

from __future__ import annotations

import itertools
import math

import cv2
import numpy as np
from numpy.typing import NDArray

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception.images import BgrImage
from deep_perception.keyframes import Keyframes
from deep_perception.settings import KeyframeSettings
from deep_perception.stamps import NANOSECONDS
from synthetic.photographs import photograph

WIDTH, HEIGHT, FRAMES, RUNS = 640, 480, 40, 200


def run() -> Measurement:
    """Milliseconds per frame, all of which are compared."""
    last = photograph(WIDTH, HEIGHT)
    grey = cv2.cvtColor(last, cv2.COLOR_BGR2GRAY).astype(np.float32)
    frames = [_frame(last, number) for number in range(FRAMES)]
    settings = KeyframeSettings(min_interval_s=0.0)
    keyframes = Keyframes()
    if keyframes.decide(last, 0, settings) is None:
        raise AssertionError("the first frame must be a keyframe")
    numbers = itertools.count(1)
    ours_next, baseline_next = itertools.cycle(frames), itertools.cycle(frames)

    def ours() -> None:
        # A preview decides nothing, so all frames are compared with the first one.
        keyframes.preview(next(ours_next), next(numbers) * NANOSECONDS // 30, settings)

    def baseline() -> None:
        frame = cv2.cvtColor(next(baseline_next), cv2.COLOR_BGR2GRAY)
        _ssim(grey, frame.astype(np.float32))

    seconds, ssim = turn_by_turn(ours, baseline, runs=RUNS)
    return {
        "name": "keyframe_ms",
        "value": 1000 * seconds,
        "unit": "ms",
        "baseline": 1000 * ssim,
        "ours": 1000 * seconds,
        "runs": RUNS,
    }


def _frame(image: BgrImage, number: int) -> BgrImage:
    drawn = image.copy()
    cv2.ellipse(drawn, (16 * number, 300), (35, 110), 0, 0, 360, (60, 40, 140), -1)
    light = 1.0 + 0.25 * math.sin(number / 4)
    return np.clip(drawn * light, 0, 255).astype(np.uint8)


def _ssim(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    def blurred(image: NDArray[np.float32]) -> NDArray[np.float32]:
        return cv2.GaussianBlur(image, (11, 11), 1.5).astype(np.float32, copy=False)

    mean, mean_other = blurred(one), blurred(other)
    variance = blurred(one * one) - mean * mean
    variance_other = blurred(other * other) - mean_other * mean_other
    covariance = blurred(one * other) - mean * mean_other
    light, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    similarity = (2 * mean * mean_other + light) * (2 * covariance + contrast)
    scale = (mean**2 + mean_other**2 + light) * (variance + variance_other + contrast)
    return float((similarity / scale).mean())
