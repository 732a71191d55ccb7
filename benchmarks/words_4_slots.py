"""24 regions from a server with 4 slots that answers in 0.2 s, against one after the other."""

from __future__ import annotations

from benchmarks import words
from benchmarks.harness import Measurement


def run() -> Measurement:
    """Measure the seconds for a scene."""
    return words.at_once(4)
