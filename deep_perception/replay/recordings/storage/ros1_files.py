"""A ROS 1 .bag file, whose messages are converted to CDR when they are read."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Sequence
from heapq import merge
from io import BytesIO
from itertools import islice
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader, ReaderError

from deep_perception.replay.recordings.interfaces import InvalidMessage, to_cdr
from deep_perception.replay.recordings.storage import (
    UNKNOWN_TOPIC,
    BagError,
    Item,
    Lost,
    Message,
    Topic,
    Wanted,
)
from deep_perception.stamps import NANOSECONDS

MAGIC = b"#ROSBAG V"
# Each damaged message costs a search through the index.
_MAX_DAMAGED = 100
# The exceptions of rosbags for damaged bytes.
_BROKEN = (ReaderError, OSError, ValueError, RuntimeError, AssertionError, LookupError, EOFError,
           struct.error)  # fmt: skip


class Ros1File:
    """A StorageFile with one stretch, itself. Raises BagError.

    ``original`` is the file of the recording of which ``path`` may be a copy.
    """

    def __init__(self, path: Path, original: Path) -> None:
        self._name = original.name
        self.warnings: dict[str, None] = {}
        self.stretches = [self]
        # The index of the last connections, because a reader of single images asks for it again.
        self._cached: tuple[Sequence[Connection], list[Any]] = [], []
        self._reader = Reader(path)
        try:
            self._reader.open()
        except _BROKEN as error:
            raise BagError(
                f"{original}: cannot be read as a ROS 1 bag ({_reason(error)}); `rosbag reindex` "
                "repairs one that was not closed"
            ) from None
        self.counts: Counter[Topic] = Counter()
        for connection in self._reader.connections:
            self.counts[_topic(connection)] += connection.msgcount
        filled = [chunk for chunk in self._reader.chunk_infos if chunk.connection_counts]
        self.start_ns = min((chunk.start_time for chunk in filled), default=0)
        # The end in rosbags is one nanosecond after the last message.
        self.end_ns = max((chunk.end_time for chunk in filled), default=1) - 1

    def close(self) -> None:
        self._reader.close()

    def before(self, wanted: Wanted, from_ns: int) -> int:
        return bisect_left(self._index(self._connections(wanted)), (from_ns,))

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        connections = self._connections(wanted)
        index = self._index(connections)
        current, damaged = bisect_left(index, (from_ns,)), 0
        while current < len(index):
            log_ns = index[current].time
            same_time = current - bisect_left(index, (log_ns,))
            try:
                found = self._reader.messages(connections, start=log_ns)
                for connection, time_ns, raw in islice(found, same_time, None):
                    current += 1
                    yield _message(time_ns, _topic(connection), raw)
            except _BROKEN as error:
                # After an error rosbags keeps a chunk that it has already closed.
                self._reader.current_chunk = (-1, BytesIO())
                damaged += 1
                give_up = damaged > _MAX_DAMAGED
                count = len(index) - current if give_up else 1
                yield self._lose(index[current].time, count, error, give_up=give_up)
                current += count

    def _lose(self, log_ns: int, count: int, error: Exception, *, give_up: bool) -> Lost:
        damage = f"is damaged in {_MAX_DAMAGED} places" if give_up else "is damaged"
        seconds = (log_ns - self.start_ns) / NANOSECONDS
        lost = f"{count} messages from {seconds:.3f} s on are lost"
        self.warnings[f"{self._name}: {damage} ({_reason(error)}); {lost}"] = None
        return Lost(log_ns, UNKNOWN_TOPIC, count)

    def _index(self, connections: Sequence[Connection]) -> list[Any]:
        """Return the index of the messages in the order in which rosbags reads them."""
        if self._cached[0] != connections:
            indexes = (self._reader.indexes[connection.id] for connection in connections)
            self._cached = connections, list(merge(*indexes))
        return self._cached[1]

    def _connections(self, wanted: Wanted) -> list[Connection]:
        """Return the connections by topic, because rosbags orders equal times like this."""
        found = (item for item in self._reader.connections if _topic(item) in wanted)
        return sorted(found, key=lambda connection: (_topic(connection), connection.id))


def _topic(connection: Connection) -> Topic:
    return Topic(connection.topic, connection.msgtype)


def _reason(error: Exception) -> str:
    return " ".join(str(error).split()) or "it contradicts itself"


def _message(log_ns: int, topic: Topic, raw: bytes) -> Message:
    try:
        return Message(log_ns, topic, to_cdr(raw, topic.type))
    except InvalidMessage as error:
        return Message(log_ns, topic, b"", str(error))
