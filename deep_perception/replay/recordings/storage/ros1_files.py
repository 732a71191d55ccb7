"""A ROS 1 .bag file; its messages become CDR as they are read."""

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

from deep_perception.replay.recordings.interfaces import NoMessage, to_cdr
from deep_perception.replay.recordings.storage import (
    NOWHERE,
    BagError,
    Item,
    Lost,
    Message,
    Topic,
    Wanted,
)

MAGIC = b"#ROSBAG V"
# Each costs a search through the index.
_DAMAGED_PLACES = 100
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
        # Of what was read last: whoever looks for single messages asks again and again.
        self._known: tuple[Sequence[Connection], list[Any]] = [], []
        self._reader = Reader(path)
        try:
            self._reader.open()
        except _BROKEN as error:
            raise BagError(
                f"{called}: cannot be read as a ROS 1 bag ({_why(error)}); `rosbag reindex` "
                "repairs one that was not closed"
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
        return bisect_left(self._order(self._ours(wanted)), (from_ns,))

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        ours = self._ours(wanted)
        order = self._order(ours)
        at, damaged = bisect_left(order, (from_ns,)), 0
        while at < len(order):
            log_ns = order[at].time
            same_time = at - bisect_left(order, (log_ns,))
            try:
                found = self._reader.messages(ours, start=log_ns)
                for connection, time_ns, raw in islice(found, same_time, None):
                    at += 1
                    yield _message(time_ns, _topic(connection), raw)
            except _BROKEN as error:
                # rosbags keeps the chunk that it had closed.
                self._reader.current_chunk = (-1, BytesIO())
                damaged += 1
                yield self._lost(order, at, error, everything=damaged > _DAMAGED_PLACES)
                at = len(order) if damaged > _DAMAGED_PLACES else at + 1

    def _lost(self, order: Sequence[Any], at: int, error: Exception, *, everything: bool) -> Lost:
        count = len(order) - at if everything else 1
        what = f"is damaged in {_DAMAGED_PLACES} places" if everything else "is damaged"
        seconds = (order[at].time - self.start_ns) / 1e9
        lost = f"{count} messages from {seconds:.3f} s on are lost"
        self.warnings[f"{self._name}: {what} ({_why(error)}); {lost}"] = None
        return Lost(order[at].time, NOWHERE, count)

    def _order(self, ours: Sequence[Connection]) -> list[Any]:
        """The index of these messages in the order in which rosbags reads them."""
        if self._known[0] != ours:
            self._known = ours, list(merge(*(self._reader.indexes[each.id] for each in ours)))
        return self._known[1]

    def _ours(self, wanted: Wanted) -> list[Connection]:
        """The connections in order of their topics: that is how rosbags orders equal times."""
        found = (each for each in self._reader.connections if _topic(each) in wanted)
        return sorted(found, key=lambda each: (_topic(each), each.id))


def _topic(connection: Connection) -> Topic:
    return Topic(connection.topic, connection.msgtype)


def _why(error: Exception) -> str:
    return " ".join(str(error).split()) or "it contradicts itself"


def _message(log_ns: int, topic: Topic, raw: bytes) -> Message:
    try:
        return Message(log_ns, topic, to_cdr(raw, topic.type))
    except NoMessage as error:
        return Message(log_ns, topic, b"", str(error))
