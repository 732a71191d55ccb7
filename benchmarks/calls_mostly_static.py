"""Described regions while objects of the size of people cross a static view: at most a quarter."""

from __future__ import annotations

from benchmarks.calls import measure
from benchmarks.harness import Measurement
from synthetic.tracking_scripts import walkers


def run() -> Measurement:
    """The regions described after the first keyframe."""
    return measure("calls_mostly_static", walkers(frames=40))
