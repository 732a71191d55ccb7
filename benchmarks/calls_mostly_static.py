"""Describer calls while people-sized things cross a static view: at most a quarter of all."""

from __future__ import annotations

from benchmarks.calls import measure
from benchmarks.harness import Measurement
from synthetic.tracking_scripts import walkers


def run() -> Measurement:
    """Regions described after the first keyframe."""
    return measure("calls_mostly_static", walkers(frames=40))
