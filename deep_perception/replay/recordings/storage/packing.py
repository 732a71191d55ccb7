"""The compression of recordings, of whole files, chunks or messages, which all have limits.

A few bytes can be made into gigabytes by every one of these formats. What is decompressed is
therefore limited by what a message of an image may have, and by what images compress to.
"""

from __future__ import annotations

import bz2
import shutil
from pathlib import Path

import lz4.frame
import zstandard

from deep_perception.replay.recordings.storage import LARGEST_MESSAGE, BagError
from deep_perception.untrusted.text import printable

MAGIC = b"\x28\xb5\x2f\xfd"
# Raw images compress to a third, masks and drawings to a fiftieth. The parts of a file, and a file
# that is compressed as a whole, may have this many times the file's size, or this many bytes.
MOST_TIMES, ALWAYS_BYTES = 200, 1 << 33
# Bytes that stay free on the disk of a decompressed copy.
KEEP_FREE = 1 << 29
_PIECE = 1 << 20


class TooLarge(ValueError):
    """Data are larger when they are decompressed than any recording has."""


class Expansion:
    """What may be decompressed of one file, which cannot be made of nothing."""

    def __init__(self, file_size: int) -> None:
        self._file_size = file_size
        self._left = max(ALWAYS_BYTES, MOST_TIMES * file_size)

    def add(self, size: int) -> None:
        """Count decompressed bytes. Raises TooLarge."""
        self._left -= size
        if self._left < 0:
            raise TooLarge(
                f"more than {MOST_TIMES} times as large when it is decompressed as the "
                f"{self._file_size} bytes of the file"
            )


def decompress(name: str, data: bytes | memoryview, limit: int) -> bytes | bytearray:
    """Return at most ``limit`` bytes; truncated data give as much as is complete.

    Raises TooLarge, ValueError for a name that is not known, and what the libraries raise.
    """
    found: bytes | bytearray
    if name == "zstd":
        found = _unzstd(data, limit)
    elif name == "lz4":
        found = lz4.frame.LZ4FrameDecompressor().decompress(data, limit + 1)
    elif name == "bz2":
        found = bz2.BZ2Decompressor().decompress(data, limit + 1)
    else:
        raise ValueError(f"compression {printable(repr(name))} is not known")
    if len(found) > limit:
        raise TooLarge(f"larger than {limit} bytes when it is decompressed")
    return found


def _unzstd(data: bytes | memoryview, limit: int) -> bytearray:
    """Return at most a piece more than ``limit``, for which a single call would take memory."""
    found = bytearray()
    if zstandard.frame_content_size(data) > limit:
        raise TooLarge(f"larger than {limit} bytes when it is decompressed")
    with zstandard.ZstdDecompressor().stream_reader(data) as stream:
        while len(found) <= limit and (piece := stream.read(_PIECE)):
            found += piece
    return found


def decompress_message(data: bytes) -> bytes:
    """Return the message in a record of rosbag2, which may be compressed.

    CDR never starts with the magic number of zstd, so that this does not need the metadata, which a
    crash may have cost. Raises zstandard.ZstdError and TooLarge.
    """
    return bytes(decompress("zstd", data, LARGEST_MESSAGE)) if data.startswith(MAGIC) else data


def decompress_file(path: Path, folder: Path) -> Path:
    """Write a decompressed copy of a file into a folder. Raises BagError."""
    copy = folder / path.stem
    expansion = Expansion(path.stat().st_size)
    try:
        with zstandard.open(path, "rb") as packed, copy.open("wb") as plain:
            free = shutil.disk_usage(folder).free - KEEP_FREE
            while piece := packed.read(_PIECE):
                expansion.add(len(piece))
                free -= len(piece)
                if free < 0:
                    raise BagError(
                        f"{path}: too large to be decompressed into {folder}, where "
                        f"{KEEP_FREE >> 20} MB are to stay free; set TMPDIR to a folder of a "
                        "larger disk"
                    )
                plain.write(piece)
    except (TooLarge, zstandard.ZstdError) as error:
        copy.unlink(missing_ok=True)
        raise BagError(f"{path}: cannot be decompressed ({error})") from None
    except OSError as error:
        raise BagError(f"{path}: cannot be decompressed into {folder} ({error})") from None
    return copy
