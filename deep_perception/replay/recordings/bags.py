"""The image messages of a recording in the order in which they were recorded: rosbag2 and ROS 1."""

from __future__ import annotations

import importlib.util
import re
import struct
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

from deep_perception import encodings
from deep_perception.encodings import EncodingError
from deep_perception.images import BgrImage
from deep_perception.replay import INSTALL
from deep_perception.replay.recordings.storage import (
    EARLIEST_NS,
    METADATA,
    BagError,
    Lost,
    Message,
    StorageFile,
    Timeline,
    Topic,
)

__all__ = ["IMAGE_TYPES", "BagError", "Frame", "Recording", "name_of"]

IMAGE, COMPRESSED_IMAGE = IMAGE_TYPES = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
)
# So many topics are named in an error.
_SHOWN = 20


@dataclass(frozen=True, eq=False, kw_only=True)
class Frame:
    """An image message of a recording.

    ``position`` counts the messages of the topics that are read, from 0 at the start of the
    recording; ``log_ns``: when it was recorded; ``stamp_ns``: its header's stamp, or ``log_ns``
    where that is empty; ``data``: the message as CDR, empty when there is a ``problem``.
    """

    topic: str
    type: str
    position: int
    log_ns: int
    stamp_ns: int
    frame_id: str
    data: bytes = field(repr=False)
    problem: str = ""

    def picture(self) -> BgrImage:
        """HxWx3 uint8 BGR. Raises EncodingError, for bytes that are no message too."""
        from deep_perception.replay.recordings import interfaces

        if self.problem:
            raise EncodingError(self.problem)
        try:
            message = interfaces.read(self.data, self.type)
        except interfaces.NoMessage as error:
            raise EncodingError(str(error)) from None
        return encodings.message_to_bgr(message)


class Recording:
    """An open recording: a folder of rosbag2, a single .mcap or .db3 file, or a ROS 1 .bag.

    ``start_ns``, ``end_ns``: when its first and its last message were recorded, of any topic;
    ``image_topics``: type and number of messages of each topic with images; ``message_count``: of
    all topics. Not for more than one thread.
    """

    def __init__(self, path: Path) -> None:
        """Open it. Raises BagError, also when there are no images in it."""
        _check_installed(path)
        from deep_perception.replay.recordings.storage import opening

        self.path = path.parent if path.name == METADATA else path
        self.name = name_of(path)
        self._warnings: dict[str, None] = {}
        self._timelines: dict[frozenset[Topic], Timeline] = {}
        with ExitStack() as stack:

            def scratch() -> Path:
                return Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="replay-")))

            self.files = tuple(opening.files_of(self.path, self._warn))
            self._opened: list[StorageFile] = []
            refused: list[BagError] = []
            for file in self.files:
                try:
                    self._opened.append(opening.open_file(file, scratch))
                except BagError as error:
                    refused.append(error)
                    self._warnings[str(error).replace(str(file), file.name, 1)] = None
                    continue
                stack.callback(self._opened[-1].close)
            if not self._opened:
                raise refused[0]
            self._look()
            self._stack = stack.pop_all()

    def _look(self) -> None:
        self._counts: dict[Topic, int] = {}
        for file in self._opened:
            for topic, count in file.counts.items():
                self._counts[topic] = self._counts.get(topic, 0) + count
        self.message_count = sum(self._counts.values())
        self.image_topics = {
            topic.name: (topic.type, count)
            for topic, count in sorted(self._counts.items())
            if topic.type in IMAGE_TYPES and count
        }
        if not self.image_topics:
            raise BagError(f"{self.path}: {self._no_images()}")
        stretches = [each for file in self._opened if any(file.counts.values())
                     for each in file.stretches]  # fmt: skip
        self.start_ns = min(each.start_ns for each in stretches)
        self.end_ns = max(each.end_ns for each in stretches)

    def _no_images(self) -> str:
        reasons = "".join(f"; {warning}" for warning in self.warnings)
        if not self.message_count:
            return f"there are no messages in this recording{reasons}"
        empty = [topic for topic in self._counts if topic.type in IMAGE_TYPES]
        if empty:
            return f"no image was recorded on {_listed(empty)}{reasons}"
        return f"there is no image topic; the topics are {_listed(self._counts)}{reasons}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """What is wrong with the recording, a line each. More may be found while it is read."""
        found = (warning for file in self._opened for warning in file.warnings)
        return tuple(dict.fromkeys((*self._warnings, *found)))

    def _warn(self, what: str) -> None:
        self._warnings[f"{self.path.resolve().name}: {what}"] = None

    def frames(
        self, topics: Sequence[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[Frame]:
        """The image messages of some topics by the time of their recording, then by topic.

        Only those from ``start_ns`` on and before ``stop_ns``; what lies before is not read. What
        is damaged is left out with a warning, but has its positions. Raises BagError for a topic
        that has no images.
        """
        if unknown := [topic for topic in topics if topic not in self.image_topics]:
            others = [topic for topic in self._counts if topic.name in unknown]
            what = _listed(others) if others else repr(unknown[0])
            there = shortened(list(self.image_topics))
            raise BagError(f"{self.path}: {what} is no image topic of it; there is {there}")
        wanted = frozenset(
            topic for topic in self._counts if topic.name in topics and topic.type in IMAGE_TYPES
        )
        return self._frames(wanted, EARLIEST_NS if start_ns is None else start_ns, stop_ns)

    def _frames(
        self, wanted: frozenset[Topic], start_ns: int, stop_ns: int | None
    ) -> Iterator[Frame]:
        if wanted not in self._timelines:
            stretches = [each for file in self._opened for each in file.stretches]
            # One at a time: it is those who look for single messages that ask again and again.
            self._timelines = {wanted: Timeline(stretches, wanted)}
        timeline = self._timelines[wanted]
        position = timeline.before(start_ns)
        for item in timeline.read(start_ns):
            if stop_ns is not None and item.log_ns >= stop_ns:
                return
            if isinstance(item, Lost):
                position += item.messages
            else:
                yield _frame(item, position)
                position += 1

    def close(self) -> None:
        """Close its files."""
        self._stack.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


def shortened(names: Sequence[str]) -> str:
    """The first of many names, for a message."""
    more = [f"{len(names) - _SHOWN} more"] if len(names) > _SHOWN else []
    return ", ".join([*names[:_SHOWN], *more])


def name_of(path: Path) -> str:
    """What a recording is called, whether it is there or not: its folder or its file's stem."""
    path = path.resolve()
    name = path.parent.name if path.name == METADATA else path.name
    return re.sub(r"\.(mcap|db3|bag)(\.zstd?)?$", "", name)


def header_of(data: bytes) -> tuple[int, str]:
    """Stamp (ns) and frame of a CDR message that starts with a header; 0 and "" where it breaks."""
    try:
        order = "<" if data[1] & 1 else ">"
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", data, 4)
    except (IndexError, struct.error):
        return 0, ""
    frame_id = data[16 : 16 + length].partition(b"\0")[0]
    return seconds * 1_000_000_000 + nanoseconds, frame_id.decode(errors="replace")


def _frame(message: Message, position: int) -> Frame:
    stamp_ns, frame_id = header_of(message.data)
    return Frame(
        topic=message.topic.name,
        type=message.topic.type,
        position=position,
        log_ns=message.log_ns,
        stamp_ns=stamp_ns if stamp_ns > 0 else message.log_ns,
        frame_id=frame_id,
        data=message.data,
        problem=message.problem,
    )


def _listed(topics: Sequence[Topic] | dict[Topic, int]) -> str:
    return shortened([f"{topic.name} ({topic.type})" for topic in sorted(topics)])


def _check_installed(path: Path) -> None:
    missing = [name for name in ("rosbags", "mcap") if importlib.util.find_spec(name) is None]
    if missing:
        raise BagError(
            f"{path}: reading a recording needs the package {' and '.join(missing)}: {INSTALL}"
        )
