"""The result of a benchmark, and alternating time measurement."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import TypedDict

RUNS = 7


class Measurement(TypedDict):
    """The result: ``value`` in ``unit``; ``ours`` and ``baseline`` are medians of the two sides."""

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
    """Median seconds of two functions that run alternately, so that noise affects both alike.

    The first turn is not measured.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for turn in range(runs + 1):
        for side, function in enumerate((ours, baseline)):
            started = clock()
            function()
            if turn:
                times[side].append(clock() - started)
    return statistics.median(times[0]), statistics.median(times[1])
