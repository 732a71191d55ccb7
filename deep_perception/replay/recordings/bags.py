"""The image messages of a recording (rosbag2 or ROS 1) in the order of recording."""

from __future__ import annotations

import importlib.util
import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deep_perception import encodings
from deep_perception.encodings import EncodingError
from deep_perception.images import BgrImage, IntensityRange
from deep_perception.replay import INSTALL
from deep_perception.replay.recordings.storage import (
    EARLIEST_NS,
    MAX_NAMES,
    METADATA,
    BagError,
    Held,
    Lost,
    Message,
    StorageFile,
    Timeline,
    Topic,
)
from deep_perception.stamps import header_of
from deep_perception.untrusted.text import listed, printable

__all__ = ["IMAGE_TYPES", "BagError", "RecordedFrame", "Recording", "name_of"]

# ROS allows names of 255 characters.
MAX_TOPIC_NAME = 1000
IMAGE, COMPRESSED_IMAGE = IMAGE_TYPES = (
    "sensor_msgs/msg/Image",
    "sensor_msgs/msg/CompressedImage",
)


@dataclass(frozen=True, eq=False, kw_only=True)
class RecordedFrame:
    """An image message of a recording.

    ``position`` counts the messages of the topics that are read, from 0 at the start of the
    recording. ``log_ns`` is the time of recording, ``stamp_ns`` the stamp in the header, or
    ``log_ns`` if the stamp is empty. ``data`` is the message as CDR, empty if there is a
    ``problem``.
    """

    topic: str
    type: str
    position: int
    log_ns: int
    stamp_ns: int
    frame_id: str
    data: bytes = field(repr=False)
    problem: str = ""

    def image(self, shown: IntensityRange | None = None) -> BgrImage:
        """Return the HxWx3 uint8 BGR image, of more than 8 bits with the range of its scene.

        Raises EncodingError, also for a broken message.
        """
        return encodings.message_to_bgr(self.message(), shown)

    def message(self) -> Any:
        """Return the message with its fields. Raises EncodingError."""
        from deep_perception.replay.recordings import interfaces

        if self.problem:
            raise EncodingError(self.problem)
        try:
            return interfaces.read(self.data, self.type)
        except interfaces.InvalidMessage as error:
            raise EncodingError(str(error)) from None


class Recording:
    """An open recording: a folder of rosbag2, a single .mcap or .db3 file, or a ROS 1 .bag.

    ``start_ns`` and ``end_ns`` are the times of the first and the last message of any topic,
    ``image_topics`` the type and number of messages of each topic with images, ``message_count``
    that of all topics. It must be used by one thread only.
    """

    def __init__(self, path: Path) -> None:
        """Open the recording. Raises BagError, also if it contains no images."""
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
            held = Held()
            refused: list[BagError] = []
            for file in self.files:
                try:
                    self._opened.append(opening.open_file(file, scratch, held))
                except BagError as error:
                    refused.append(error)
                    self._warnings[str(error).replace(str(file), file.name, 1)] = None
                    continue
                stack.callback(self._opened[-1].close)
            if not self._opened:
                raise refused[0]
            self._read_counts()
            self._stack = stack.pop_all()

    def _read_counts(self) -> None:
        self._counts: dict[Topic, int] = {}
        for file in self._opened:
            for topic, count in file.counts.items():
                if max(map(len, topic)) > MAX_TOPIC_NAME:
                    self._warn(f"the topic {printable(topic.name)} has too long a name")
                    continue
                self._counts[topic] = self._counts.get(topic, 0) + count
        self.message_count = sum(self._counts.values())
        self.image_topics = {
            topic.name: (topic.type, count)
            for topic, count in sorted(self._counts.items())
            if topic.type in IMAGE_TYPES and count
        }
        if not self.image_topics:
            raise BagError(f"{self.path}: {self._no_images()}")
        stretches = [stretch for file in self._opened if any(file.counts.values())
                     for stretch in file.stretches]  # fmt: skip
        self.start_ns = min(stretch.start_ns for stretch in stretches)
        self.end_ns = max(stretch.end_ns for stretch in stretches)

    def _no_images(self) -> str:
        reasons = "".join(f"; {warning}" for warning in self.warnings)
        if not self.message_count:
            return f"this recording contains no messages{reasons}"
        empty = [topic for topic in self._counts if topic.type in IMAGE_TYPES]
        if empty:
            return f"no image was recorded on {_list_topics(empty)}{reasons}"
        return f"there is no image topic; the topics are {_list_topics(self._counts)}{reasons}"

    @property
    def warnings(self) -> tuple[str, ...]:
        """The warnings about the recording, one line each; reading may add more."""
        found = (warning for file in self._opened for warning in file.warnings)
        return tuple(dict.fromkeys((*self._warnings, *found)))

    def _warn(self, text: str) -> None:
        self._warnings[f"{self.path.resolve().name}: {text}"] = None

    def frames(
        self, topics: Sequence[str], start_ns: int | None = None, stop_ns: int | None = None
    ) -> Iterator[RecordedFrame]:
        """Yield the image messages of some topics by time of recording, then by topic.

        Only messages from ``start_ns`` on and before ``stop_ns`` are read. Damaged messages are
        left out with a warning, but keep their positions. Raises BagError for a topic without
        images.
        """
        if unknown := [topic for topic in topics if topic not in self.image_topics]:
            others = [topic for topic in self._counts if topic.name in unknown]
            name = _list_topics(others) if others else repr(unknown[0])
            known = listed(self.image_topics, MAX_NAMES)
            raise BagError(f"{self.path}: {name} is no image topic of it; it has {known}")
        wanted = frozenset(
            topic for topic in self._counts if topic.name in topics and topic.type in IMAGE_TYPES
        )
        return self._frames(wanted, EARLIEST_NS if start_ns is None else start_ns, stop_ns)

    def _frames(
        self, wanted: frozenset[Topic], start_ns: int, stop_ns: int | None
    ) -> Iterator[RecordedFrame]:
        if wanted not in self._timelines:
            stretches = [stretch for file in self._opened for stretch in file.stretches]
            # Only the last timeline is kept: a reader of single images asks for the same one.
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
        """Close the files."""
        self._stack.close()

    def __enter__(self) -> Recording:
        return self

    def __exit__(self, *exception: object) -> None:
        self.close()


def name_of(path: Path) -> str:
    """Return the name of a recording, which need not exist: that of its folder or file, or ""."""
    path = path.resolve()
    name = path.parent.name if path.name == METADATA else path.name
    stem = re.sub(r"\.(mcap|db3|bag)(\.zstd?)?$", "", name)
    # A file ...mcap would otherwise have the name of the folder above its outputs.
    return "" if stem.strip(".") == "" else stem


def _frame(message: Message, position: int) -> RecordedFrame:
    stamp_ns, frame_id = header_of(message.data)
    return RecordedFrame(
        topic=message.topic.name,
        type=message.topic.type,
        position=position,
        log_ns=message.log_ns,
        stamp_ns=stamp_ns if stamp_ns > 0 else message.log_ns,
        frame_id=frame_id,
        data=message.data,
        problem=message.problem,
    )


def _list_topics(topics: Sequence[Topic] | dict[Topic, int]) -> str:
    return listed([f"{topic.name} ({topic.type})" for topic in sorted(topics)], MAX_NAMES)


def _check_installed(path: Path) -> None:
    missing = [name for name in ("rosbags", "mcap") if importlib.util.find_spec(name) is None]
    if missing:
        raise BagError(
            f"{path}: reading a recording needs the package {' and '.join(missing)}: {INSTALL}"
        )
