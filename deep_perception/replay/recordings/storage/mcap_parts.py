"""The parts of an .mcap file that are read as a whole: chunks, and runs of records outside them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import NamedTuple, Protocol

import zstandard
from mcap.opcode import Opcode

from deep_perception.replay.recordings.interfaces import InvalidMessage, to_cdr
from deep_perception.replay.recordings.storage import (
    LARGEST_CHUNK,
    LARGEST_MESSAGE,
    UNKNOWN_TOPIC,
    Item,
    Lost,
    Message,
    Topic,
    Wanted,
)
from deep_perception.replay.recordings.storage.mcap_records import MESSAGE, Damaged, records
from deep_perception.replay.recordings.storage.packing import TooLarge, decompress_message


class TopicChannel(NamedTuple):
    """The topic of a channel, and whether its messages have the ROS 1 format."""

    topic: Topic
    ros1: bool


class PartReader(Protocol):
    """The file that a part reads from."""

    @property
    def channels(self) -> Mapping[int, TopicChannel]:
        """The channels by their number."""

    def read_records(self, part: McapPart) -> memoryview:
        """Return the records of a part. Raises Damaged."""

    def release(self, size: int) -> None:
        """Take note that so many bytes of records are not used any more."""

    def warn(self, text: str) -> None:
        """Add a warning about the file."""


@dataclass(frozen=True, eq=False)
class McapPart:
    """A stretch: a chunk, or a run of records. ``offset`` and ``size`` are in bytes of the file."""

    file: PartReader
    offset: int
    size: int
    packed: bool
    start_ns: int
    end_ns: int
    counts: Mapping[int, int]
    cut: bool = False
    """Whether the file ends within it."""
    limit: int = LARGEST_CHUNK
    """Bytes that it may have when it is decompressed."""

    def before(self, wanted: Wanted, from_ns: int) -> int:
        channels = self._channels(wanted)
        if not channels or from_ns <= self.start_ns:
            return 0
        if from_ns <= self.end_ns:
            try:
                raw = self.file.read_records(self)
                self.file.release(len(raw))
                return sum(log_ns < from_ns for _, log_ns, _ in self._messages(raw, channels))
            except Damaged:
                pass
        return sum(self.counts[channel] for channel in channels)

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        channels = self._channels(wanted)
        if not channels:
            return
        try:
            raw = self.file.read_records(self)
            try:
                yield from self._read(raw, channels, from_ns)
            finally:
                self.file.release(len(raw))
        except Damaged as error:
            count = sum(self.counts[channel] for channel in channels)
            if from_ns <= self.start_ns:
                self.file.warn(
                    f"the chunk at byte {self.offset} is damaged ({error}); {count} messages in it "
                    "are lost"
                )
                yield Lost(self.start_ns, UNKNOWN_TOPIC, count)

    def _read(
        self, raw: memoryview, channels: Mapping[int, TopicChannel], from_ns: int
    ) -> Iterator[Item]:
        messages = self._messages(raw, channels)
        found = [message for message in messages if message[1] >= from_ns]
        found.sort(key=lambda message: (message[1], channels[message[0]].topic))
        for channel, log_ns, data in found:
            topic, ros1 = channels[channel]
            yield _message(log_ns, topic, bytes(data), ros1)

    def _channels(self, wanted: Wanted) -> dict[int, TopicChannel]:
        found = ((number, self.file.channels[number]) for number in self.counts)
        return {number: channel for number, channel in found if channel.topic in wanted}

    def _messages(
        self, raw: memoryview, channels: Mapping[int, TopicChannel]
    ) -> Iterator[tuple[int, int, memoryview]]:
        for code, body in records(raw, self.cut):
            if code == Opcode.MESSAGE:
                channel, _, log_ns, _ = MESSAGE.unpack_from(body)
                if channel in channels:
                    yield channel, log_ns, body[MESSAGE.size :]


def _message(log_ns: int, topic: Topic, data: bytes, ros1: bool) -> Message:
    try:
        if len(data) > LARGEST_MESSAGE:
            raise TooLarge(f"larger than {LARGEST_MESSAGE} bytes")
        cdr = to_cdr(data, topic.type) if ros1 else decompress_message(data)
    except (InvalidMessage, TooLarge, zstandard.ZstdError) as error:
        return Message(log_ns, topic, b"", str(error))
    return Message(log_ns, topic, cdr)
