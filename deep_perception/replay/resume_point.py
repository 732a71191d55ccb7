"""The state of a replay behind a frame, from which a later run continues."""

from __future__ import annotations

from dataclasses import dataclass, field

from deep_perception.replay.recordings.choice import Sampler
from deep_perception.stamps import FrameStamps
from deep_perception.stream import Stream


@dataclass
class ResumePoint:
    """Everything that the scenes of later frames depend on.

    ``streams``, ``stamps`` and ``keyframes`` (their number) are by topic; ``position`` and
    ``log_ns`` are those of the last frame that was read.
    """

    sampler: Sampler
    streams: dict[str, Stream]
    keyframes: dict[str, int]
    regions: int
    position: int
    log_ns: int
    stamps: dict[str, FrameStamps] = field(default_factory=dict)
