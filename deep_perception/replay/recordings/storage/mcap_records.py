"""The records of an .mcap file, as far as they are complete."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import zstandard
from mcap.exceptions import McapError
from mcap.opcode import Opcode

from deep_perception.replay.recordings.storage.packing import decompress

MAGIC = b"\x89MCAP0\r\n"
RECORD, MESSAGE = struct.Struct("<BQ"), struct.Struct("<HIQQ")
# Bytes of an index: that of a million chunks has some hundred million.
LARGEST_INDEX = 1 << 29
_CHUNK, _FOOTER = struct.Struct("<QQQII"), struct.Struct("<QQI")
# The exceptions of the libraries for damaged bytes.
BROKEN = (McapError, OSError, ValueError, RuntimeError, MemoryError, struct.error,
          zstandard.ZstdError)  # fmt: skip


class Damaged(Exception):
    """The bytes of a part of a file are damaged."""


def read_index(file: BinaryIO) -> memoryview | None:
    """Return the records of the index at the end of a file, None if there is none.

    Raises Damaged if it is not where the file says, or does not match its checksum if it has one.
    """
    footer_at = file.seek(0, os.SEEK_END) - len(MAGIC) - RECORD.size - _FOOTER.size
    if footer_at < len(MAGIC):
        raise Damaged("no footer")
    file.seek(footer_at)
    footer = file.read()
    code, length = RECORD.unpack_from(footer)
    if code != Opcode.FOOTER or length != _FOOTER.size or not footer.endswith(MAGIC):
        raise Damaged("no footer")
    summary_at, offsets_at, crc = _FOOTER.unpack_from(footer, RECORD.size)
    if not summary_at:
        return None
    if not len(MAGIC) <= summary_at <= footer_at or footer_at - summary_at > LARGEST_INDEX:
        raise Damaged("no index where it should be")
    file.seek(summary_at)
    summary = file.read(footer_at + RECORD.size + 16 - summary_at)
    if crc and zlib.crc32(summary) != crc:
        raise Damaged("an index with a wrong checksum")
    end = offsets_at if summary_at <= offsets_at <= footer_at else footer_at
    return memoryview(summary)[: end - summary_at]


def records(raw: memoryview, cut: bool) -> Iterator[tuple[int, memoryview]]:
    """Yield opcode and body of each record. Raises Damaged, unless the rest is ``cut`` off."""
    start = 0
    while start < len(raw):
        end = start + RECORD.size
        code, length = RECORD.unpack_from(raw, start) if end <= len(raw) else (0, len(raw))
        end += length
        if end > len(raw) or (code == Opcode.MESSAGE and length < MESSAGE.size):
            if cut:
                return
            raise Damaged(f"a record of {length} bytes does not fit")
        yield code, raw[start + RECORD.size : end]
        start = end


def decompress_chunk(raw: memoryview, cut: bool, limit: int) -> memoryview:
    """Return the records in the body of a chunk, of at most ``limit`` bytes. Raises Damaged."""
    try:
        _, _, size, crc, name_length = _CHUNK.unpack_from(raw)
        start = _CHUNK.size + name_length
        compression = bytes(raw[_CHUNK.size : start]).decode()
        data = raw[start + 8 :]
        if not cut:
            data = data[: int.from_bytes(raw[start : start + 8], "little")]
        if size > limit:
            raise Damaged(f"{size} bytes when it is decompressed, more than {limit}")
        found = memoryview(decompress(compression, data, size)) if compression else data
    except BROKEN as error:
        raise Damaged(str(error) or type(error).__name__) from None
    if not cut and len(found) != size:
        raise Damaged(f"{len(found)} bytes instead of {size}")
    if not cut and crc and zlib.crc32(found) != crc:
        raise Damaged("wrong checksum")
    return found
