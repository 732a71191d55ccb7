"""CPU time of making a region's picture of a 640x480 frame, against the original's PNG."""

from __future__ import annotations

from benchmarks import words
from benchmarks.harness import Measurement


def run() -> Measurement:
    """Milliseconds a region, all threads together."""
    return words.picture_cpu_ms("words_cpu_ms", 640, 480)
