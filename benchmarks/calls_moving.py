"""Describer calls while the camera turns there and back by 60 pixels a keyframe."""

from __future__ import annotations

from benchmarks.calls import measure
from benchmarks.harness import Measurement
from synthetic.tracking_scripts import pan


def run() -> Measurement:
    """Regions described after the first keyframe."""
    return measure("calls_moving", pan())
