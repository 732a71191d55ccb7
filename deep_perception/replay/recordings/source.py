"""The part of a recording that is replayed, and the pictures of its scenes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deep_perception.encodings import EncodingError
from deep_perception.images import BgrImage
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.recordings.bags import BagError, Frame, Recording

# A scene that is farther ahead is looked up; nearer ones are quicker read on to.
LOOK_UP_NS = 5_000_000_000


@dataclass(frozen=True, eq=False)
class Source:
    """Some topics of a recording, from ``start_ns`` on and before ``stop_ns``."""

    recording: Recording
    topics: Sequence[str]
    start_ns: int
    stop_ns: int

    @property
    def warnings(self) -> list[str]:
        """What is wrong with the recording, without where it lies."""
        # Only where a path begins: a folder "g" is not the end of "bag/".
        folder = re.compile(rf"(?<![^\s'\"(]){re.escape(str(self.recording.path.parent))}[/\\]")
        return [folder.sub("", warning) for warning in self.recording.warnings]


class Pictures:
    """The pictures of scenes, one at a time in memory; quick when they are asked for in order."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._frames: Iterator[Frame] | None = None
        self._last = -1, 0

    def __call__(self, seen: SceneRecord) -> BgrImage | None:
        """HxWx3 uint8 BGR; None where it cannot be read any more. Raises BagError."""
        position, log_ns = self._last
        near = position < seen.position and seen.log_ns - log_ns < LOOK_UP_NS
        frames = self._frames if near else None
        if frames is None:
            frames = self._source.recording.frames(
                self._source.topics, seen.log_ns, self._source.stop_ns
            )
        self._frames = frames
        for frame in frames:
            self._last = frame.position, frame.log_ns
            if frame.position == seen.position and frame.topic == seen.topic:
                try:
                    return frame.picture()
                except EncodingError:
                    return None
            if frame.position > seen.position:
                break
        self._frames = None
        raise BagError(
            f"{self._source.recording.path}: the image of {seen.topic} at {seen.log_ns} ns is not "
            "there any more"
        )
