"""An .mcap file, read by its index or, if that is missing as after a crash, by its records."""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Sequence
from io import BytesIO
from pathlib import Path
from typing import BinaryIO

from mcap.data_stream import ReadDataStream
from mcap.opcode import Opcode
from mcap.records import Channel, ChunkIndex, Schema, Statistics

from deep_perception.replay.recordings.storage import (
    LARGEST_CHUNK,
    BagError,
    Held,
    Topic,
    ros2_name,
)
from deep_perception.replay.recordings.storage.mcap_parts import McapPart, TopicChannel
from deep_perception.replay.recordings.storage.mcap_records import (
    BROKEN,
    MAGIC,
    MESSAGE,
    RECORD,
    Damaged,
    decompress_chunk,
    read_index,
    records,
)
from deep_perception.replay.recordings.storage.packing import Expansion, TooLarge
from deep_perception.stamps import NANOSECONDS

# A message index consists of a record head, a channel and a length, then of a time and an offset
# for each message.
_INDEX_HEAD, _INDEX_ENTRY = RECORD.size + 2 + 4, 16
# Messages outside of chunks are read in runs of about this many bytes.
_RUN = 1 << 20
# Other records, such as attachments, may be large and are skipped.
_IN_RUNS = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)


class McapFile:
    """A StorageFile. ``original`` is the file of the recording of which ``path`` may be a copy."""

    def __init__(self, path: Path, original: Path, held: Held) -> None:
        self._name = original.name
        self.warnings: dict[str, None] = {}
        self.channels: dict[int, TopicChannel] = {}
        self.stretches: list[McapPart] = []
        self._schemas: dict[int, str] = {}
        self._original = original
        self._size = path.stat().st_size
        self._expansion = Expansion(self._size)
        self._held = held
        self._file: BinaryIO = path.open("rb")
        try:
            if not self._by_index():
                self._by_records(self._size)
        except BaseException:
            self._file.close()
            raise
        self.counts: Counter[Topic] = Counter()
        for part in self.stretches:
            for channel, count in part.counts.items():
                self.counts[self.channels[channel].topic] += count
        for topic_channel in self.channels.values():
            self.counts.setdefault(topic_channel.topic, 0)

    def close(self) -> None:
        self._file.close()

    def warn(self, text: str) -> None:
        """Add a warning; a repeated one is kept once."""
        self.warnings[f"{self._name}: {text}"] = None

    def read_records(self, part: McapPart) -> memoryview:
        """Return the records of a chunk, or of a run. Raises Damaged."""
        if part.size > LARGEST_CHUNK:
            raise Damaged(f"{part.size} bytes, more than {LARGEST_CHUNK}")
        if part.offset + part.size > self._size:
            raise Damaged("the file ends in it")
        if self._held.full:
            raise Damaged("it is too large for the memory, beside others of the same time")
        self._file.seek(part.offset)
        raw = memoryview(self._file.read(part.size))
        if part.packed:
            raw = decompress_chunk(raw, part.cut, min(part.limit, LARGEST_CHUNK))
        self._held.size += len(raw)
        return raw

    def release(self, size: int) -> None:
        """Take note that so many bytes of records are not used any more."""
        self._held.size -= size

    def _by_index(self) -> bool:
        """Read the index; return False if there is none, or if it is incomplete."""
        try:
            raw = read_index(self._file)
            if raw is None:
                return False
            statistics, indexes = None, []
            channels: list[Channel] = []
            for code, body in records(raw, False):
                stream = ReadDataStream(BytesIO(body))
                if code == Opcode.STATISTICS:
                    statistics = Statistics.read(stream)
                elif code == Opcode.SCHEMA:
                    self._add_schema(Schema.read(stream))
                elif code == Opcode.CHANNEL:
                    channels.append(Channel.read(stream))
                elif code == Opcode.CHUNK_INDEX:
                    indexes.append(ChunkIndex.read(stream))
            if statistics is None:
                return False
            for channel in channels:
                self._add_channel(channel)
            known = {0, *self._schemas}
            if not all(channel.schema_id in known for channel in channels):
                return False
            parts = [self._indexed(index) for index in indexes]
            self._check_apart(parts)
            if sum(sum(part.counts.values()) for part in parts) != statistics.message_count:
                return False
        except (Damaged, *BROKEN, KeyError, EOFError, OverflowError):
            return False
        self._limit([part.limit for part in parts])
        self.stretches = parts
        return True

    def _check_apart(self, parts: Sequence[McapPart]) -> None:
        """Raise Damaged if chunks overlap, which would be read again and again."""
        end = len(MAGIC)
        for part in sorted(parts, key=lambda part: part.offset):
            if part.offset < end or part.offset + part.size > self._size:
                raise Damaged("an index that contradicts itself")
            end = part.offset + part.size

    def _limit(self, sizes: Iterable[int]) -> None:
        """Raise BagError if the chunks are larger when they are decompressed than any images."""
        try:
            for size in sizes:
                self._expansion.add(size)
        except TooLarge as error:
            raise BagError(f"{self._original}: its chunks are {error}") from None

    def _indexed(self, index: ChunkIndex) -> McapPart:
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
        return McapPart(
            self,
            index.chunk_start_offset + RECORD.size,
            index.chunk_length - RECORD.size,
            True,
            index.message_start_time,
            index.message_end_time,
            {channel: count for channel, count in counts.items() if count},
            limit=min(index.uncompressed_size, LARGEST_CHUNK),
        )

    def _by_records(self, size: int) -> None:
        """Read the whole file to find its chunks and runs."""
        self.channels.clear()
        self.stretches = []
        start, run, ended = len(MAGIC), len(MAGIC), False
        while not ended:
            self._file.seek(start)
            head = self._file.read(RECORD.size)
            code, length = RECORD.unpack(head) if len(head) == RECORD.size else (0, size)
            body, end = start + RECORD.size, start + RECORD.size + length
            ended = code in (0, Opcode.DATA_END, Opcode.FOOTER) or end > size
            if ended or code not in _IN_RUNS or end - run > _RUN:
                self._add_part(run, start - run, packed=False)
                run = start if code in _IN_RUNS else end
            if code == Opcode.CHUNK:
                self._add_part(body, min(end, size) - body, packed=True, cut=end > size)
            if ended and code not in (Opcode.DATA_END, Opcode.FOOTER):
                self._warn_of_truncation(start, size)
            start = end

    def _add_part(self, offset: int, size: int, *, packed: bool, cut: bool = False) -> None:
        """Count the messages of a part of the file, and read its channels."""
        if size <= 0:
            return
        counts: Counter[int] = Counter()
        times: list[int] = []
        part = McapPart(self, offset, size, packed, 0, 0, counts, cut)
        try:
            raw = self.read_records(part)
            self.release(len(raw))
            self._limit([len(raw)])
            for code, body in records(raw, cut):
                if code == Opcode.SCHEMA:
                    self._add_schema(Schema.read(ReadDataStream(BytesIO(body))))
                elif code == Opcode.CHANNEL:
                    self._add_channel(Channel.read(ReadDataStream(BytesIO(body))))
                elif code == Opcode.MESSAGE:
                    channel, _, log_ns, _ = MESSAGE.unpack_from(body)
                    if channel in self.channels:
                        counts[channel] += 1
                        times.append(log_ns)
        except BagError:
            raise
        except (Damaged, *BROKEN) as error:
            if not cut:
                self.warn(f"the chunk at byte {offset} is damaged ({error}); it is left out")
            return
        if times:
            self.stretches.append(dataclasses.replace(part, start_ns=min(times), end_ns=max(times)))

    def _warn_of_truncation(self, start: int, size: int) -> None:
        saved = sum(sum(part.counts.values()) for part in self.stretches)
        text = (
            f"breaks off at byte {start} of {size}, as after a crash; {saved} messages were saved"
        )
        if self.stretches:
            seconds = max(part.end_ns for part in self.stretches) - min(
                part.start_ns for part in self.stretches
            )
            text += f", the last of them {seconds / NANOSECONDS:.1f} s after the first"
        self.warn(text)

    def _add_schema(self, schema: Schema) -> None:
        self._schemas[schema.id] = ros2_name(schema.name)

    def _add_channel(self, channel: Channel) -> None:
        kind = self._schemas.get(channel.schema_id, "unknown type")
        if channel.message_encoding not in ("cdr", "ros1"):
            kind = f"{kind} as {channel.message_encoding or 'unknown encoding'}"
        topic = Topic(channel.topic, kind)
        self.channels[channel.id] = TopicChannel(topic, channel.message_encoding == "ros1")
