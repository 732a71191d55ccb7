"""What the benchmarks share: timing turn by turn, and test pictures."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import TypedDict

import cv2
import numpy as np

from deep_perception import images
from deep_perception.images import Picture

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "test" / "data").glob("*.jpg"))
RUNS = 7


class Measurement(TypedDict):
    """One claim: ``value`` in ``unit``; ``ours`` and ``baseline`` are the two sides, medians."""

    name: str
    value: float
    unit: str
    baseline: float
    ours: float
    runs: int


def turn_by_turn(
    ours: Callable[[], object],
    baseline: Callable[[], object],
    runs: int = RUNS,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[float, float]:
    """Median seconds of both, run alternately so that noise hits both; the first turn is free."""
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(runs + 1):
        for side, function in enumerate((ours, baseline)):
            started = clock()
            function()
            if turn:
                times[side].append(clock() - started)
    return statistics.median(times[0]), statistics.median(times[1])


def photograph(width: int, height: int, number: int = 0) -> Picture:
    """A test photograph stretched to a size."""
    image = images.load(PHOTOGRAPHS[number])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
