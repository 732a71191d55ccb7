"""Described regions while the camera turns there and back by up to 50 pixels per keyframe."""

from __future__ import annotations

from benchmarks.calls import measure
from benchmarks.harness import Measurement
from synthetic.tracking_scripts import pan


def run() -> Measurement:
    """The regions described after the first keyframe."""
    return measure("calls_moving", pan())
