"""The compressed depth images of compressed_depth_image_transport: PNG or RVL behind a header.

Depth in metres (32FC1) is sent as ``a / depth + b`` in 16 bits; the header has a and b. RVL is the
lossless code of A. Wilson, "Fast Lossless Depth Image Compression", ISS 2017: runs of zeros and of
differences, in groups of 3 bits.
"""

from __future__ import annotations

import struct

import numpy as np
from numpy.typing import NDArray

from deep_perception.encodings.errors import EncodingError
from deep_perception.encodings.files import decode_image
from deep_perception.encodings.layouts import Pixels
from deep_perception.images import png
from deep_perception.images.pixels import MAX_PIXELS

MARK = "compresseddepth"
_HEADER = struct.Struct("<iff")
_SIZE = struct.Struct("<ii")


def decode(data: bytes, encoding: str, format_: str) -> Pixels:
    """Return depth as HxW uint16 of 16UC1, or HxW float32 of 32FC1. Raises EncodingError."""
    if len(data) < _HEADER.size:
        raise EncodingError(f"format {format_!r}: {len(data)} bytes have no depth header")
    _, quantum, offset = _HEADER.unpack_from(data)
    content = data[_HEADER.size :]
    # Old publishers do not say how they compressed.
    is_rvl = "rvl" in format_.lower() and not content.startswith(png.SIGNATURE)
    values = _rvl(content, format_) if is_rvl else decode_image(content, format_)
    if values.ndim != 2:
        raise EncodingError(f"format {format_!r}: depth has {values.shape[2]} channels")
    if encoding != "32FC1" or values.dtype != np.uint16:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        metres = np.float32(quantum) / (values.astype(np.float32) - np.float32(offset))
    metres[values == 0] = np.nan
    return metres


def _rvl(content: bytes, format_: str) -> NDArray[np.uint16]:
    if len(content) < _SIZE.size:
        raise EncodingError(f"format {format_!r}: {len(content)} bytes have no size")
    width, height = _SIZE.unpack_from(content)
    if width < 1 or height < 1 or width * height > MAX_PIXELS:
        raise EncodingError(f"format {format_!r}: the image is {width}x{height} pixels")
    numbers = _numbers(content[_SIZE.size :])
    flat = np.zeros(width * height, np.uint16)
    position, at, previous = 0, 0, 0
    while position < flat.size:
        if at + 1 >= numbers.size:
            raise EncodingError(
                f"format {format_!r}: the RVL data are cut off after {position} of {flat.size} "
                "pixels"
            )
        zeros, count = int(numbers[at]), int(numbers[at + 1])
        position, at = position + zeros, at + 2
        coded = numbers[at : at + count]
        if coded.size < count or position + count > flat.size or (zeros == count == 0):
            raise EncodingError(f"format {format_!r}: the RVL data are cut off or damaged")
        if count:
            # Even numbers are differences upwards, odd ones downwards.
            values = previous + np.cumsum((coded >> 1) ^ -(coded & 1))
            flat[position : position + count] = values.astype(np.uint16)
            previous = int(values[-1])
        position, at = position + count, at + count
    return flat.reshape(height, width)


def _numbers(content: bytes) -> NDArray[np.int64]:
    """Return the numbers of RVL: groups of 3 bits, low ones first, each with a bit for "more"."""
    words = np.frombuffer(content[: len(content) // 4 * 4], "<u4")
    shifts = np.arange(28, -1, -4, dtype=np.uint32)
    nibbles = ((words[:, None] >> shifts) & 15).astype(np.int64).ravel()
    ends = np.flatnonzero(nibbles < 8)
    if not ends.size:
        return ends
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends + 1 - starts
    places = np.arange(ends[-1] + 1) - np.repeat(starts, lengths)
    # More than 16 bits never occur; a longer number comes from damaged data.
    groups = (nibbles[: ends[-1] + 1] & 7) << (3 * np.minimum(places, 15))
    return np.add.reduceat(groups, starts)
