"""A ROS 1 .bag file, whose messages are converted to CDR when they are read."""

from __future__ import annotations

import struct
from bisect import bisect_left
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from heapq import merge
from io import BytesIO
from os import SEEK_CUR
from pathlib import Path
from typing import Any

from rosbags.interfaces import Connection
from rosbags.rosbag1 import Reader, ReaderError
from rosbags.rosbag1.reader import Chunk, Header, IndexData, RecordType, decompressors

from deep_perception.replay.recordings.interfaces import InvalidMessage, to_cdr
from deep_perception.replay.recordings.storage import (
    LARGEST_CHUNK,
    LARGEST_MESSAGE,
    UNKNOWN_TOPIC,
    BagError,
    Held,
    Item,
    Lost,
    Message,
    Topic,
    Wanted,
)
from deep_perception.replay.recordings.storage.packing import Expansion, decompress
from deep_perception.stamps import NANOSECONDS
from deep_perception.untrusted.text import REASON, printable

MAGIC = b"#ROSBAG V"
# Connections in front of a message.
_MOST_REPEATED = 1000
# Beyond it, warnings would say the same again and again.
_MAX_DAMAGED = 100
# The exceptions of rosbags for damaged bytes.
_BROKEN = (ReaderError, OSError, ValueError, RuntimeError, AssertionError, LookupError, EOFError,
           MemoryError, OverflowError, struct.error)  # fmt: skip
# Bytes of the line with the version, and of an entry of the index.
_FIRST_LINE, _INDEX_ENTRY = 64, 12
# The names in ``packing`` of what rosbags decompresses with.
_COMPRESSION = {decompressors[name]: "" if name == "none" else name for name in decompressors}


class _Reader(Reader):
    """rosbags' reader of the index, which must not be larger than the file, nor point anywhere.

    It would read the whole file for a first line without an end, an index again for every chunk
    that claims to be in the same place, and any number of bytes from a small chunk.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.size = path.stat().st_size
        self.expansion = Expansion(self.size)

    def read_chunk(self) -> Chunk:
        """Read the head of a chunk, which says how large it is when it is decompressed."""
        assert self.bio
        start = self.bio.tell()
        size = Header.read(self.bio, RecordType.CHUNK).get_uint32("size")
        self.bio.seek(start)
        chunk = super().read_chunk()
        if start in self.chunks or chunk.datapos + chunk.datasize > self.size:
            raise ReaderError("Two chunks in one place, or one behind the end.")
        if max(size, chunk.datasize) > LARGEST_CHUNK:
            raise ReaderError(f"A chunk of {size} bytes, more than {LARGEST_CHUNK}.")
        self.expansion.add(size)
        name = _COMPRESSION[chunk.decompressor]
        return chunk._replace(
            decompressor=(lambda data: bytes(decompress(name, data, size)))
            if name
            else chunk.decompressor
        )

    def read_index_data(self, pos: int, indexes: dict[int, list[IndexData]]) -> None:
        """Read the index of a connection in a chunk."""
        super().read_index_data(pos, indexes)
        if sum(map(len, indexes.values())) * _INDEX_ENTRY > self.size:
            raise ReaderError("An index larger than the file.")


class Ros1File:
    """A StorageFile with one stretch, itself. Raises BagError.

    ``original`` is the file of the recording of which ``path`` may be a copy.
    """

    def __init__(self, path: Path, original: Path, held: Held) -> None:
        self._name = original.name
        self.warnings: dict[str, None] = {}
        self.stretches = [self]
        # The index of the last connections, because a reader of single images asks for it again.
        self._cached: tuple[Sequence[Connection], list[Any]] = [], []
        self._held, self._chunk = held, (-1, BytesIO())
        self._reader = _Reader(path)
        try:
            with path.open("rb") as file:
                if not file.readline(_FIRST_LINE).endswith(b"\n"):
                    raise ReaderError("No end of its first line.")
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
        known = {connection.id: connection for connection in connections}
        current, damaged = bisect_left(index, (from_ns,)), 0
        # Times that alternate between chunks would decompress them again and again.
        self._reader.expansion = Expansion(self._reader.size)
        try:
            while current < len(index):
                entry = index[current]
                try:
                    connection, raw = self._read_message(entry, known)
                except _BROKEN as error:
                    damaged += 1
                    give_up = damaged > _MAX_DAMAGED
                    count = len(index) - current if give_up else 1
                    yield self._lose(entry.time, count, error, give_up=give_up)
                    current += count
                else:
                    current += 1
                    yield _message(entry.time, _topic(connection), raw)
        finally:
            self._let_go()

    def _read_message(
        self, entry: IndexData, known: Mapping[int, Connection]
    ) -> tuple[Connection, bytes]:
        """Return a message of the index with its connection. Raises one of _BROKEN."""
        chunk = self._open_chunk(entry.chunk_pos)
        chunk.seek(entry.offset)
        # Connections may be repeated in front of the message, each once.
        for _ in range(_MOST_REPEATED):
            header = Header.read(chunk)
            if header.get_uint8("op") != RecordType.CONNECTION:
                break
            chunk.seek(_length(chunk), SEEK_CUR)
        if header.get_uint8("op") != RecordType.MSGDATA:
            raise ReaderError("Expected to find message data.")
        size = _length(chunk)
        raw = chunk.read(size)
        if len(raw) < size or size > LARGEST_MESSAGE:
            raise ReaderError(f"A message of {size} bytes, of which there are {len(raw)}.")
        if header.get_time("time") != entry.time:
            raise ReaderError("The time of a message is not that of the index.")
        return known[header.get_uint32("conn")], raw

    def _open_chunk(self, position: int) -> BytesIO:
        if self._chunk[0] != position:
            self._let_go()
            if self._held.full:
                raise ReaderError("Too large for the memory, beside other files.")
            found = self._reader.chunks[position]
            bio = self._reader.bio
            assert bio
            bio.seek(found.datapos)
            data = found.decompressor(bio.read(found.datasize))
            self._reader.expansion.add(len(data))
            self._held.size += len(data)
            self._chunk = position, BytesIO(data)
        return self._chunk[1]

    def _let_go(self) -> None:
        self._held.size -= len(self._chunk[1].getbuffer())
        self._chunk = -1, BytesIO()

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


def _length(chunk: BytesIO) -> int:
    return int(struct.unpack("<I", chunk.read(4))[0])


def _topic(connection: Connection) -> Topic:
    return Topic(connection.topic, connection.msgtype)


def _reason(error: Exception) -> str:
    return printable(" ".join(str(error).split()), REASON) or "it contradicts itself"


def _message(log_ns: int, topic: Topic, raw: bytes) -> Message:
    try:
        return Message(log_ns, topic, to_cdr(raw, topic.type))
    except InvalidMessage as error:
        return Message(log_ns, topic, b"", str(error))
