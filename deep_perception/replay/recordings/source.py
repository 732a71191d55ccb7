"""The part of a recording that is replayed, and the images of its scenes."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from deep_perception.encodings import EncodingError
from deep_perception.images import BgrImage
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.recordings.bags import BagError, RecordedFrame, Recording

# A scene that is farther ahead is looked up in the index; reading on is faster for nearer ones.
LOOK_UP_NS = 5_000_000_000


@dataclass(frozen=True, eq=False)
class ReplaySource:
    """Some topics of a recording, from ``start_ns`` on and before ``stop_ns``."""

    recording: Recording
    topics: Sequence[str]
    start_ns: int
    stop_ns: int

    def share(self, log_ns: int) -> float:
        """Return how far a time lies between start (0) and stop (1)."""
        return (log_ns - self.start_ns) / (self.stop_ns - self.start_ns)

    @property
    def warnings(self) -> list[str]:
        """The warnings about the recording, without the path of its folder."""
        # The path is removed only where a path begins: a folder "g" is not the end of "bag/".
        folder = re.compile(rf"(?<![^\s'\"(]){re.escape(str(self.recording.path.parent))}[/\\]")
        return [folder.sub("", warning) for warning in self.recording.warnings]


class SceneImages:
    """The images of scenes, one at a time in memory, and fastest in the order of recording."""

    def __init__(self, source: ReplaySource) -> None:
        self._source = source
        self._frames: Iterator[RecordedFrame] | None = None
        self._last = -1, 0

    def image(self, record: SceneRecord) -> BgrImage | None:
        """Return an HxWx3 uint8 BGR image, None if it cannot be decoded any more.

        Raises BagError if the recording does not contain it any more.
        """
        position, log_ns = self._last
        near = position < record.position and record.log_ns - log_ns < LOOK_UP_NS
        frames = self._frames if near else None
        if frames is None:
            frames = self._source.recording.frames(
                self._source.topics, record.log_ns, self._source.stop_ns
            )
        self._frames = frames
        for frame in frames:
            self._last = frame.position, frame.log_ns
            if frame.position == record.position and frame.topic == record.topic:
                try:
                    return frame.image(record.scene.intensity_range)
                except EncodingError:
                    return None
            if frame.position > record.position:
                break
        self._frames = None
        raise BagError(
            f"{self._source.recording.path}: it contains no image of {record.topic} at "
            f"{record.log_ns} ns any more"
        )
