"""Described regions of a static view with the noise of a camera: none."""

from __future__ import annotations

from benchmarks.calls import measure
from benchmarks.harness import Measurement
from synthetic.tracking_scripts import still


def run() -> Measurement:
    """The regions described after the first keyframe."""
    return measure("calls_static", still(frames=60))
