"""A ROS 1 .bag file; its messages become CDR as they are read."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader, ReaderError

from deep_perception.replay.interfaces import NoMessage, to_cdr
from deep_perception.replay.storage import NOWHERE, BagError, Item, Lost, Message, Topic, Wanted

MAGIC = b"#ROSBAG V"
# What damaged bytes make of the code that reads them.
_BROKEN = (ReaderError, OSError, ValueError, RuntimeError, AssertionError, LookupError, EOFError,
           struct.error)  # fmt: skip


class Ros1File:
    """See StorageFile; one stretch. Raises BagError.

    ``called``: the file of the recording, where ``path`` is a copy of it.
    """

    def __init__(self, path: Path, called: Path) -> None:
        self._name = called.name
        self.warnings: dict[str, None] = {}
        self.stretches = [self]
        self._reader = Reader(path)
        try:
            self._reader.open()
        except _BROKEN as error:
            raise BagError(
                f"{called}: cannot be read as a ROS 1 bag ({error}); `rosbag reindex` repairs one "
                "that was not closed"
            ) from None
        self.counts: Counter[Topic] = Counter()
        for connection in self._reader.connections:
            self.counts[_topic(connection)] += connection.msgcount
        filled = [chunk for chunk in self._reader.chunk_infos if chunk.connection_counts]
        self.start_ns = min((chunk.start_time for chunk in filled), default=0)
        # rosbags' end is the first nanosecond after it.
        self.end_ns = max((chunk.end_time for chunk in filled), default=1) - 1

    def close(self) -> None:
        self._reader.close()

    def before(self, wanted: Wanted, from_ns: int) -> int:
        indexes = (self._reader.indexes[each.id] for each in self._ours(wanted))
        return sum(bisect_left([entry.time for entry in index], from_ns) for index in indexes)

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        ours, count, log_ns = self._ours(wanted), 0, from_ns
        if not ours:
            return
        try:
            for connection, log_ns, raw in self._reader.messages(ours, start=from_ns):
                count += 1
                yield _message(log_ns, _topic(connection), raw)
        except _BROKEN as error:
            rest = sum(each.msgcount for each in ours) - self.before(wanted, from_ns) - count
            self.warnings[
                f"{self._name}: is damaged ({error}); {count} messages were read, {rest} are lost"
            ] = None
            yield Lost(log_ns, NOWHERE, rest)

    def _ours(self, wanted: Wanted) -> list[Connection]:
        """The connections in order of their topics: that is how rosbags orders equal times."""
        found = (each for each in self._reader.connections if _topic(each) in wanted)
        return sorted(found, key=lambda each: (_topic(each), each.id))


def _topic(connection: Connection) -> Topic:
    return Topic(connection.topic, connection.msgtype)


def _message(log_ns: int, topic: Topic, raw: bytes) -> Message:
    try:
        return Message(log_ns, topic, to_cdr(raw, topic.type))
    except NoMessage as error:
        return Message(log_ns, topic, b"", str(error))
