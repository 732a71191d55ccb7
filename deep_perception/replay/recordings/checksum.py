"""A checksum of files of any size that reads at most 16 MiB."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path

BLOCK = 1 << 16
# Blocks at each end, where a recording stores its index, and evenly spread between the two.
AT_ENDS, BETWEEN = 16, 224
LENGTH = 12


def checksum(path: Path) -> str:
    """Return hexadecimal digits of a file's content, or the reason why it cannot be read.

    A file of less than 16 MiB is read whole, of a larger one the first and the last MiB and 14 MiB
    in between. This detects a recording that was compressed again or cut, or whose images were all
    changed, for example to make faces unrecognisable. It does not detect a change of a few images
    of a large file at the same size.
    """
    digest = hashlib.sha256()
    try:
        with path.open("rb") as file:
            size = path.stat().st_size
            for start in _starts(size):
                file.seek(start)
                digest.update(file.read(BLOCK))
    except OSError as error:
        return error.strerror or type(error).__name__
    return digest.hexdigest()[:LENGTH]


def _starts(size: int) -> Iterator[int]:
    blocks = -(-size // BLOCK)
    if blocks <= 2 * AT_ENDS + BETWEEN:
        yield from range(0, size, BLOCK)
        return
    yield from range(0, AT_ENDS * BLOCK, BLOCK)
    gap = (size - 2 * AT_ENDS * BLOCK) / (BETWEEN + 1)
    yield from (int(AT_ENDS * BLOCK + gap * (index + 1)) for index in range(BETWEEN))
    yield from range(size - AT_ENDS * BLOCK, size, BLOCK)
