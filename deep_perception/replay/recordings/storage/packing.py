"""What rosbag2 compresses: whole files, or each message."""

from __future__ import annotations

import shutil
from pathlib import Path

import zstandard

from deep_perception.replay.recordings.storage import BagError

MAGIC = b"\x28\xb5\x2f\xfd"


def unpacked(data: bytes) -> bytes:
    """The message in a record of rosbag2, which may have compressed it.

    CDR never starts with zstd's magic, so this needs no metadata, which a crash may have cost.
    Raises zstandard.ZstdError.
    """
    if not data.startswith(MAGIC):
        return data
    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(data))


def unpacked_file(path: Path, folder: Path) -> Path:
    """A copy in a folder that is not compressed any more. Raises BagError."""
    copy = folder / path.stem
    try:
        with zstandard.open(path, "rb") as packed, copy.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    except zstandard.ZstdError as error:
        raise BagError(f"{path}: cannot be unpacked ({error})") from None
    except OSError as error:
        raise BagError(f"{path}: cannot be unpacked into {folder} ({error})") from None
    return copy
