"""Describer calls of a view in which nothing moves, the camera's noise included: none."""

from __future__ import annotations

from benchmarks.calls import measure
from benchmarks.harness import Measurement
from synthetic.tracking_scripts import still


def run() -> Measurement:
    """Regions described after the first keyframe."""
    return measure("calls_static", still(frames=60))
