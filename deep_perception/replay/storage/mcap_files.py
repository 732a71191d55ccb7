"""An .mcap file: by its index, or where that is missing, after a crash say, by its records."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import BinaryIO, NamedTuple

import zstandard
from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.reader import SeekingReader
from mcap.records import Channel, ChunkIndex, Schema
from mcap.summary import Summary

from deep_perception.replay.interfaces import NoMessage, to_cdr
from deep_perception.replay.storage import (
    NOWHERE,
    Item,
    Lost,
    Message,
    Topic,
    Wanted,
    ros2_name,
)
from deep_perception.replay.storage.mcap_records import (
    BROKEN,
    MAGIC,
    MESSAGE,
    RECORD,
    Damaged,
    index_is_whole,
    records,
    unpack,
)
from deep_perception.replay.storage.packing import unpacked

# A message index: its record's head, a channel, a length; then a time and an offset a message.
_INDEX_HEAD, _INDEX_ENTRY = RECORD.size + 2 + 4, 16
# Messages outside of chunks are read in runs of about this many bytes.
_RUN = 1 << 20
_TEXT = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)


class _Found(NamedTuple):
    topic: Topic
    ros1: bool


@dataclass(frozen=True)
class _Part:
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

    def _ours(self, wanted: Wanted) -> dict[int, _Found]:
        found = ((channel, self.file.channels[channel]) for channel in self.counts)
        return {channel: each for channel, each in found if each.topic in wanted}

    def _messages(self, ours: Mapping[int, _Found]) -> list[tuple[int, int, memoryview]]:
        raw = self.file.bytes_of(self.offset, self.size, self.packed, self.cut)
        return [
            (channel, log_ns, body[MESSAGE.size :])
            for code, body in records(raw, self.cut)
            if code == Opcode.MESSAGE
            for channel, _, log_ns, _ in [MESSAGE.unpack_from(body)]
            if channel in ours
        ]


class McapFile:
    """See StorageFile. ``called``: the file of the recording, where ``path`` is a copy of it."""

    def __init__(self, path: Path, called: Path) -> None:
        self._name = called.name
        self.warnings: dict[str, None] = {}
        self.channels: dict[int, _Found] = {}
        self.stretches: list[_Part] = []
        self._schemas: dict[int, str] = {}
        self._file: BinaryIO = path.open("rb")
        if not self._by_index():
            self._by_records(path.stat().st_size)
        self.counts: Counter[Topic] = Counter()
        for part in self.stretches:
            for channel, count in part.counts.items():
                self.counts[self.channels[channel].topic] += count
        for found in self.channels.values():
            self.counts.setdefault(found.topic, 0)

    def close(self) -> None:
        self._file.close()

    def warn(self, what: str) -> None:
        """Say once what is wrong with this file."""
        self.warnings[f"{self._name}: {what}"] = None

    def bytes_of(self, offset: int, size: int, packed: bool, cut: bool) -> memoryview:
        """The records of a chunk, or of a run. Raises Damaged."""
        self._file.seek(offset)
        raw = memoryview(self._file.read(size))
        if len(raw) < size:
            raise Damaged("the file ends in it")
        return unpack(raw, cut) if packed else raw

    def _by_index(self) -> bool:
        """Take over the index. False: there is none, or none that knows every message."""
        try:
            summary = SeekingReader(self._file).get_summary()
            if summary is None or summary.statistics is None or not index_is_whole(self._file):
                return False
            for schema in summary.schemas.values():
                self._add_schema(schema)
            for channel in summary.channels.values():
                self._add_channel(channel)
            parts = [self._indexed(index) for index in summary.chunk_indexes]
            known = sum(sum(part.counts.values()) for part in parts)
            if known == summary.statistics.message_count and _has_schemas(summary):
                self.stretches = parts
                return True
        except (*BROKEN, KeyError, EOFError):
            pass
        return False

    def _indexed(self, index: ChunkIndex) -> _Part:
        offsets = index.message_index_offsets
        starts = sorted((offset, channel) for channel, offset in offsets.items())
        after_chunk = index.chunk_start_offset + index.chunk_length
        ends = [offset for offset, _ in starts[1:]] + [after_chunk + index.message_index_length]
        counts = {
            channel: (end - start - _INDEX_HEAD) // _INDEX_ENTRY
            for (start, channel), end in zip(starts, ends, strict=True)
        }
        if any(count < 0 or channel not in self.channels for channel, count in counts.items()):
            raise ValueError("an index that contradicts itself")
        return _Part(
            self,
            index.chunk_start_offset + RECORD.size,
            index.chunk_length - RECORD.size,
            True,
            index.message_start_time,
            index.message_end_time,
            {channel: count for channel, count in counts.items() if count},
        )

    def _by_records(self, size: int) -> None:
        """Read the whole file to find out what is in it."""
        self.channels.clear()
        self.stretches = []
        at, run, ended = len(MAGIC), len(MAGIC), False
        while not ended:
            self._file.seek(at)
            head = self._file.read(RECORD.size)
            code, length = RECORD.unpack(head) if len(head) == RECORD.size else (0, size)
            end = at + RECORD.size + length
            ended = code in (0, Opcode.DATA_END, Opcode.FOOTER) or end > size
            if ended or code == Opcode.CHUNK or end - run > _RUN:
                self._add_part(run, at - run, packed=False)
                run = at
            if code == Opcode.CHUNK:
                self._add_part(at + RECORD.size, min(length, size - at - RECORD.size), packed=True,
                               cut=end > size)  # fmt: skip
                run = end
            if ended and code not in (Opcode.DATA_END, Opcode.FOOTER):
                self._warn_of_the_end(at, size)
            at = end

    def _add_part(self, offset: int, size: int, *, packed: bool, cut: bool = False) -> None:
        """Count what is in a stretch of the file, and learn its channels."""
        if size <= 0:
            return
        counts: Counter[int] = Counter()
        times: list[int] = []
        try:
            for code, body in records(self.bytes_of(offset, size, packed, cut), cut):
                if code == Opcode.SCHEMA:
                    self._add_schema(Schema.read(ReadDataStream(BytesIO(body))))
                elif code == Opcode.CHANNEL:
                    self._add_channel(Channel.read(ReadDataStream(BytesIO(body))))
                elif code == Opcode.MESSAGE:
                    channel, _, log_ns, _ = MESSAGE.unpack_from(body)
                    if channel in self.channels:
                        counts[channel] += 1
                        times.append(log_ns)
        except (Damaged, *BROKEN) as error:
            if not cut:
                self.warn(f"the chunk at byte {offset} is damaged ({error}); it is left out")
            return
        if times:
            self.stretches.append(
                _Part(self, offset, size, packed, min(times), max(times), counts, cut)
            )

    def _warn_of_the_end(self, at: int, size: int) -> None:
        saved = sum(sum(part.counts.values()) for part in self.stretches)
        what = f"breaks off at byte {at} of {size}, as after a crash; {saved} messages were saved"
        if self.stretches:
            seconds = max(part.end_ns for part in self.stretches) - min(
                part.start_ns for part in self.stretches
            )
            what += f", the last of them {seconds / 1e9:.1f} s after the first"
        self.warn(what)

    def _add_schema(self, schema: Schema) -> None:
        self._schemas[schema.id] = ros2_name(schema.name)

    def _add_channel(self, channel: Channel) -> None:
        kind = self._schemas.get(channel.schema_id, "unknown type")
        if channel.message_encoding not in ("cdr", "ros1"):
            kind = f"{kind} as {channel.message_encoding or 'unknown encoding'}"
        topic = Topic(channel.topic, kind)
        self.channels[channel.id] = _Found(topic, channel.message_encoding == "ros1")


def _has_schemas(summary: Summary) -> bool:
    return all(
        channel.schema_id == 0 or channel.schema_id in summary.schemas
        for channel in summary.channels.values()
    )


def _message(log_ns: int, topic: Topic, data: bytes, ros1: bool) -> Message:
    try:
        return Message(log_ns, topic, to_cdr(data, topic.type) if ros1 else unpacked(data))
    except (NoMessage, zstandard.ZstdError) as error:
        return Message(log_ns, topic, b"", str(error))
