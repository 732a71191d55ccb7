"""Analysis of a 640x480 photograph with the embedded backends, against GrabCut for every point.

GrabCut is OpenCV's method to turn a point into a mask without learned weights.
"""

from __future__ import annotations

import functools
import statistics

import cv2
import numpy as np

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception.analyzer import Analyzer
from deep_perception.images import BgrImage
from deep_perception.points import propose
from deep_perception.settings import PointSettings
from synthetic.photographs import PHOTOGRAPHS, photograph

SEED_RADIUS = 12


def run() -> Measurement:
    """The median, over the test photographs, of the median seconds."""
    analyzer = Analyzer()
    pairs = []
    for number in range(len(PHOTOGRAPHS)):
        image = photograph(640, 480, number)
        ours_once = functools.partial(analyzer.analyze, image)
        pairs.append(turn_by_turn(ours_once, functools.partial(_grabcut_sweep, image), runs=5))
    ours = statistics.median(pair[0] for pair in pairs)
    baseline = statistics.median(pair[1] for pair in pairs)
    return {
        "name": "embedded_sweep_s",
        "value": ours,
        "unit": "s",
        "baseline": baseline,
        "ours": ours,
        "runs": 5 * len(pairs),
    }


def _grabcut_sweep(image: BgrImage) -> int:
    claimed = np.zeros(image.shape[:2], bool)
    regions = 0
    # GrabCut gets a quarter of the size, because one sweep at full size takes a minute.
    small = cv2.resize(image, (160, 120), interpolation=cv2.INTER_AREA)
    for point in propose(image, PointSettings()):
        if claimed[point.y, point.x]:
            continue
        mask = np.full(small.shape[:2], cv2.GC_PR_BGD, np.uint8)
        cv2.circle(mask, (point.x // 4, point.y // 4), SEED_RADIUS, cv2.GC_PR_FGD, -1)
        cv2.circle(mask, (point.x // 4, point.y // 4), 3, cv2.GC_FGD, -1)
        model = np.zeros((2, 1, 65))
        whole = (0, 0, small.shape[1], small.shape[0])
        cv2.grabCut(small, mask, whole, model[0], model[1], 1, cv2.GC_INIT_WITH_MASK)
        found = np.isin(mask, (cv2.GC_FGD, cv2.GC_PR_FGD)).astype(np.uint8)
        claimed |= cv2.resize(found, (640, 480), interpolation=cv2.INTER_NEAREST).astype(bool)
        regions += 1
    return regions
