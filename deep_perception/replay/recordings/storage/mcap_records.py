"""The records of an .mcap file, as far as they are complete."""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterator
from typing import BinaryIO

import lz4.frame
import zstandard
from mcap.exceptions import McapError
from mcap.opcode import Opcode

MAGIC = b"\x89MCAP0\r\n"
RECORD, MESSAGE = struct.Struct("<BQ"), struct.Struct("<HIQQ")
_CHUNK, _FOOTER = struct.Struct("<QQQII"), struct.Struct("<QQI")
# The exceptions of the libraries for damaged bytes.
BROKEN = (McapError, OSError, ValueError, RuntimeError, struct.error, zstandard.ZstdError)


class Damaged(Exception):
    """The bytes of a part of a file are damaged."""


def index_is_whole(file: BinaryIO) -> bool:
    """Return whether the index at the end of a file matches its checksum, if it has one."""
    footer_at = file.seek(-len(MAGIC) - RECORD.size - _FOOTER.size, os.SEEK_END)
    summary_at, _, crc = _FOOTER.unpack(file.read()[RECORD.size : -len(MAGIC)])
    file.seek(summary_at)
    return not crc or zlib.crc32(file.read(footer_at + RECORD.size + 16 - summary_at)) == crc


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


def decompress_chunk(raw: memoryview, cut: bool) -> memoryview:
    """Return the records in the body of a chunk. Raises Damaged."""
    try:
        _, _, size, crc, name_length = _CHUNK.unpack_from(raw)
        start = _CHUNK.size + name_length
        compression = bytes(raw[_CHUNK.size : start]).decode()
        data = raw[start + 8 :]
        if not cut:
            data = data[: int.from_bytes(raw[start : start + 8], "little")]
        found = _decompressed(compression, data)
    except BROKEN as error:
        raise Damaged(str(error) or type(error).__name__) from None
    if not cut and len(found) != size:
        raise Damaged(f"{len(found)} bytes instead of {size}")
    if not cut and crc and zlib.crc32(found) != crc:
        raise Damaged("wrong checksum")
    return found


def _decompressed(compression: str, data: memoryview) -> memoryview:
    """Return the decompressed data; truncated data give as much as is complete."""
    if compression == "":
        return data
    if compression == "zstd":
        return memoryview(zstandard.ZstdDecompressor().decompressobj().decompress(data))
    if compression == "lz4":
        return memoryview(lz4.frame.LZ4FrameDecompressor().decompress(data))
    raise ValueError(f"compression {compression!r} is not known")
