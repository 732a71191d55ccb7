"""What of an .mcap file is read at once: a chunk, or a run of records outside of chunks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

import zstandard
from mcap.opcode import Opcode

from deep_perception.replay.recordings.interfaces import NoMessage, to_cdr
from deep_perception.replay.recordings.storage import NOWHERE, Item, Lost, Message, Topic, Wanted
from deep_perception.replay.recordings.storage.mcap_records import MESSAGE, Damaged, records
from deep_perception.replay.recordings.storage.packing import unpacked

if TYPE_CHECKING:
    from deep_perception.replay.recordings.storage.mcap_files import McapFile


class Found(NamedTuple):
    """A channel: its topic, and whether its messages are those of ROS 1."""

    topic: Topic
    ros1: bool


@dataclass(frozen=True, eq=False)
class Part:
    """A stretch: a chunk, or a run of records. ``offset``, ``size``: of its bytes in the file."""

    file: McapFile
    offset: int
    size: int
    packed: bool
    start_ns: int
    end_ns: int
    counts: Mapping[int, int]
    # The end of the file cuts it off.
    cut: bool = False

    def before(self, wanted: Wanted, from_ns: int) -> int:
        ours = self._ours(wanted)
        if not ours or from_ns <= self.start_ns:
            return 0
        if from_ns <= self.end_ns:
            try:
                return sum(log_ns < from_ns for _, log_ns, _ in self._messages(ours))
            except Damaged:
                pass
        return sum(self.counts[channel] for channel in ours)

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        ours = self._ours(wanted)
        if not ours:
            return
        try:
            found = [each for each in self._messages(ours) if each[1] >= from_ns]
        except Damaged as error:
            count = sum(self.counts[channel] for channel in ours)
            if from_ns <= self.start_ns:
                self.file.warn(
                    f"the chunk at byte {self.offset} is damaged ({error}); {count} messages in it "
                    "are lost"
                )
                yield Lost(self.start_ns, NOWHERE, count)
            return
        found.sort(key=lambda each: (each[1], ours[each[0]].topic))
        for channel, log_ns, data in found:
            topic, ros1 = ours[channel]
            yield _message(log_ns, topic, bytes(data), ros1)

    def _ours(self, wanted: Wanted) -> dict[int, Found]:
        found = ((channel, self.file.channels[channel]) for channel in self.counts)
        return {channel: each for channel, each in found if each.topic in wanted}

    def _messages(self, ours: Mapping[int, Found]) -> list[tuple[int, int, memoryview]]:
        raw = self.file.bytes_of(self.offset, self.size, self.packed, self.cut)
        return [
            (channel, log_ns, body[MESSAGE.size :])
            for code, body in records(raw, self.cut)
            if code == Opcode.MESSAGE
            for channel, _, log_ns, _ in [MESSAGE.unpack_from(body)]
            if channel in ours
        ]


def _message(log_ns: int, topic: Topic, data: bytes, ros1: bool) -> Message:
    try:
        return Message(log_ns, topic, to_cdr(data, topic.type) if ros1 else unpacked(data))
    except (NoMessage, zstandard.ZstdError) as error:
        return Message(log_ns, topic, b"", str(error))
