"""Files and compressed data of others, which are read up to a limit."""

from __future__ import annotations

import os
import stat
import zlib
from pathlib import Path
from typing import BinaryIO

from deep_perception.untrusted import UntrustedError


def read_file(path: Path, limit: int) -> bytes:
    """Return the bytes of a regular file. Raises OSError, and UntrustedError if there are more.

    A pipe or a device, which need not end, is refused.
    """
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > limit:
            raise UntrustedError(f"{path}: is larger than {_size(limit)}")
        # Files of the system may have more than the size that they say.
        data = stream.read(size + 1)
        if len(data) > size:
            data += stream.read(limit + 1 - len(data))
    if len(data) > limit:
        raise UntrustedError(f"{path}: is larger than {_size(limit)}")
    return data


def open_regular(path: Path) -> BinaryIO:
    """Open a file for reading. Raises UntrustedError for a pipe or a device, and OSError."""
    # A pipe without a writer would not be opened before there is one.
    descriptor = os.open(
        path, os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise UntrustedError(f"{path}: is no regular file")
    return os.fdopen(descriptor, "rb")


def inflate(data: bytes, limit: int, *, wbits: int = zlib.MAX_WBITS) -> bytes:
    """Return what zlib's data contain. Raises UntrustedError if that is broken or too large.

    ``wbits`` is that of ``zlib.decompressobj``, for gzip's format and for data without a header.
    """
    stream = zlib.decompressobj(wbits)
    try:
        inflated = stream.decompress(data, limit + 1)
    except zlib.error as error:
        raise UntrustedError(f"is broken ({error})") from None
    if len(inflated) > limit:
        raise UntrustedError(f"is larger than {_size(limit)} when it is decompressed")
    if not stream.eof:
        raise UntrustedError("breaks off")
    return inflated


def _size(limit: int) -> str:
    return f"{limit / 1e6:.0f} MB" if limit >= 10**6 else f"{limit} bytes"
