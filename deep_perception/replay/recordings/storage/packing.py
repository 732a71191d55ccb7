"""The compression of rosbag2: of whole files, or of each message."""

from __future__ import annotations

import shutil
from pathlib import Path

import zstandard

from deep_perception.replay.recordings.storage import BagError

MAGIC = b"\x28\xb5\x2f\xfd"


def decompress_message(data: bytes) -> bytes:
    """Return the message in a record of rosbag2, which may be compressed.

    CDR never starts with the magic number of zstd, so that this does not need the metadata, which a
    crash may have cost. Raises zstandard.ZstdError.
    """
    if not data.startswith(MAGIC):
        return data
    return bytes(zstandard.ZstdDecompressor().decompressobj().decompress(data))


def decompress_file(path: Path, folder: Path) -> Path:
    """Write a decompressed copy of a file into a folder. Raises BagError."""
    copy = folder / path.stem
    try:
        with zstandard.open(path, "rb") as packed, copy.open("wb") as plain:
            shutil.copyfileobj(packed, plain)
    except zstandard.ZstdError as error:
        raise BagError(f"{path}: cannot be decompressed ({error})") from None
    except OSError as error:
        raise BagError(f"{path}: cannot be decompressed into {folder} ({error})") from None
    return copy
