"""CPU time of a region's image from a 640x480 frame, against the PNG of the original."""

from __future__ import annotations

from benchmarks import words
from benchmarks.harness import Measurement


def run() -> Measurement:
    """Measure the milliseconds a region of all threads together."""
    return words.picture_cpu_ms("words_cpu_ms", 640, 480)
