"""The compressed depth images of compressed_depth_image_transport: PNG or RVL behind a header.

Depth in metres (32FC1) is sent as ``a / depth + b`` in 16 bits; the header has a and b. RVL is the
lossless code of A. Wilson, "Fast Lossless Depth Image Compression", ISS 2017: runs of zeros and of
differences, in groups of 3 bits.
"""

from __future__ import annotations

import struct
from array import array

import numpy as np
from numpy.typing import NDArray

from deep_perception.encodings.errors import EncodingError
from deep_perception.encodings.files import decode_image
from deep_perception.encodings.layouts import Pixels
from deep_perception.images import png
from deep_perception.images.pixels import MAX_MESSAGE_PIXELS, ImageError, check_size
from deep_perception.untrusted.text import printable

MARK = "compresseddepth"
_HEADER = struct.Struct("<iff")
_SIZE = struct.Struct("<ii")
# Memory for each pixel of RVL, with up to three numbers of 32 bits. It is also the slowest format.
_RVL_BYTES = 24
# A run has a number of zeros, a number of values, and its values.
_NUMBERS_PER_PIXEL = 3
# Words that are taken apart at once.
_WORDS = 1 << 16
# A number has 17 bits; a longer one comes from damaged data.
_LONGEST = 9


def decode(data: bytes, encoding: str, format_: str) -> Pixels:
    """Return depth as HxW uint16 of 16UC1, or HxW float32 of 32FC1. Raises EncodingError."""
    shown = f"format '{printable(format_)}'"
    if len(data) < _HEADER.size:
        raise EncodingError(f"{shown}: {len(data)} bytes have no depth header")
    _, quantum, offset = _HEADER.unpack_from(data)
    content = data[_HEADER.size :]
    # Old publishers do not say how they compressed.
    is_rvl = "rvl" in format_.lower() and not content.startswith(png.SIGNATURE)
    try:
        values = _rvl(content) if is_rvl else decode_image(content, format_)
    except ImageError as error:
        raise EncodingError(f"{shown}: {error}") from None
    if values.ndim != 2:
        raise EncodingError(f"{shown}: depth has {values.shape[2]} channels")
    if encoding != "32FC1" or values.dtype != np.uint16:
        return values
    with np.errstate(all="ignore"):
        metres = np.float32(quantum) / (values.astype(np.float32) - np.float32(offset))
    metres[values == 0] = np.nan
    return metres


def _rvl(content: bytes) -> NDArray[np.uint16]:
    if len(content) < _SIZE.size:
        raise ImageError(f"{len(content)} bytes have no size")
    width, height = _SIZE.unpack_from(content)
    check_size(width, height, pixel_bytes=_RVL_BYTES, max_pixels=MAX_MESSAGE_PIXELS)
    size = width * height
    numbers = _numbers(content[_SIZE.size :], _NUMBERS_PER_PIXEL * size + 1)
    starts = _runs(numbers)
    zeros, counts = numbers[starts].astype(np.int64), numbers[starts + 1].astype(np.int64)
    ends = np.cumsum(zeros + counts)
    used = int(np.searchsorted(ends, size)) + 1
    if used > len(ends):
        raise ImageError(
            f"the RVL data are cut off after {int(ends[-1]) if ends.size else 0} of {size} pixels"
        )
    if ends[used - 1] != size or not (zeros + counts)[:used].all():
        raise ImageError("the RVL data are cut off or damaged")
    starts, zeros, counts = starts[:used], zeros[:used], counts[:used]
    last = int(starts[-1]) + 2 + int(counts[-1])
    if last > len(numbers):
        raise ImageError("the RVL data are cut off or damaged")
    is_value = np.ones(last, np.bool_)
    is_value[starts] = is_value[starts + 1] = False
    coded = numbers[:last][is_value]
    # Even numbers are differences upwards, odd ones downwards.
    values = np.cumsum(((coded >> 1) ^ -(coded & 1)).astype(np.uint16), dtype=np.uint16)
    flat = np.zeros(size, np.uint16)
    pairs = np.stack([zeros, counts], axis=1).ravel()
    flat[np.repeat(np.arange(len(pairs)) % 2 == 1, pairs)] = values
    return flat.reshape(height, width)


def _runs(numbers: NDArray[np.int32]) -> NDArray[np.intp]:
    """Return where each run begins: with its number of zeros and its number of values."""
    starts, at, last = array("l"), 0, len(numbers) - 1
    # Reading a memoryview takes a fraction of the time that an array of numpy takes.
    values = np.ascontiguousarray(numbers).data
    while at < last:
        starts.append(at)
        at += 2 + values[at + 1]
    return np.frombuffer(starts, np.dtype("l")).astype(np.intp)


def _numbers(content: bytes, most: int) -> NDArray[np.int32]:
    """Return up to about ``most`` numbers of RVL.

    They are groups of 3 bits, low ones first, each with a bit for "more".
    """
    words = np.frombuffer(content[: len(content) // 4 * 4], "<u4")
    shifts = np.arange(28, -1, -4, dtype=np.uint32)
    found: list[NDArray[np.int32]] = []
    count, left = 0, np.empty(0, np.uint8)
    for begin in range(0, len(words), _WORDS):
        nibbles = ((words[begin : begin + _WORDS, None] >> shifts) & 15).astype(np.uint8).ravel()
        nibbles = np.concatenate([left[-_LONGEST:], nibbles])
        ends = np.flatnonzero(nibbles < 8)
        if not ends.size:
            left = nibbles
            continue
        starts = np.concatenate([[0], ends[:-1] + 1])
        places = np.arange(ends[-1] + 1) - np.repeat(starts, ends + 1 - starts)
        groups = (nibbles[: ends[-1] + 1] & 7).astype(np.int64) << (
            3 * np.minimum(places, _LONGEST)
        )
        found.append(np.minimum(np.add.reduceat(groups, starts), 2**31 - 1).astype(np.int32))
        left = nibbles[ends[-1] + 1 :]
        count += len(found[-1])
        if count > most:
            break
    return np.concatenate(found) if found else np.empty(0, np.int32)
