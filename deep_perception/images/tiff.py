"""TIFF files: whether they are small enough to be decoded, and those that decoders misread.

Pillow wraps some types and reduces 16-bit colours; OpenCV before 5 knows no unsigned 32-bit, no
64-bit integers and no half floats. The plain layouts that cameras and numerical programs write
(strips, pixels together, not compressed or deflated) are therefore read here.

A decoder gets the first image and the tags that describe its pixels only: the other tags and
images of a small file may take any amount of memory, because they may overlap.
"""

from __future__ import annotations

import io
import struct
from typing import Any, NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from deep_perception.images.pixels import MAX_PIXELS, ImageError, check_size
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import inflate

# Byte order marks, with the version number of TIFF and of BigTIFF.
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
DAMAGED = "the TIFF is damaged: its tags are not consistent"

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _ORIENTATION, _CHANNELS, _LENGTHS, _PLANES, _PREDICTOR = 273, 274, 277, 279, 284, 317
_TILE_WIDTH, _TILE_HEIGHT, _SAMPLE_FORMAT = 322, 323, 339
# These and the fill order, rows of a strip, options of fax, palette, tiles, transparency, tables
# of JPEG, and the range and sampling of YCbCr.
_NEEDED = {
    _WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC, 266, _OFFSETS, _ORIENTATION, _CHANNELS, 278,
    _LENGTHS, _PLANES, 292, 293, _PREDICTOR, 320, _TILE_WIDTH, _TILE_HEIGHT, 324, 325, 338,
    _SAMPLE_FORMAT, 347, 529, 530, 531, 532,
}  # fmt: skip
_PLAIN, _DEFLATED = 1, (8, 32946)
_WHITE_IS_ZERO = 0
_KINDS = {1: "u", 2: "i", 3: "f"}
# Bytes of a value of each type, and how whole numbers are read.
_SIZES = {1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4,
          16: 8, 17: 8, 18: 8}  # fmt: skip
_WHOLE = {1: "B", 3: "H", 4: "I", 13: "I", 16: "Q"}
# LZW, deflate and fax never make data shorter by more than this factor.
_MAX_RATIO = 1 << 13


class Complete(NamedTuple):
    """The first image of a TIFF as a decoder may get it, its tags, and its EXIF orientation.

    The orientation is no tag any more, because only some decoders apply it.
    """

    data: bytes
    tags: TiffImagePlugin.ImageFileDirectory_v2
    orientation: int


def complete(data: bytes, max_pixels: int = MAX_PIXELS) -> Complete:
    """Return a TIFF with one image. Raises ImageError if that is too large, or no image."""
    try:
        numbers, reduced = _reduced(data)
        width, height = numbers[_WIDTH][0], numbers[_HEIGHT][0]
        channels = numbers.get(_CHANNELS, (1,))[0]
        pixel_bits = channels * max(numbers.get(_BITS, (1,)))
    except (LookupError, ValueError, struct.error):
        raise ImageError(DAMAGED) from None
    pixel_bytes = max(1, -(-pixel_bits // 8))
    check_size(width, height, pixel_bytes=pixel_bytes, max_pixels=max_pixels)
    if _TILE_WIDTH in numbers or _TILE_HEIGHT in numbers:
        tile = (numbers.get(each, (0,))[0] for each in (_TILE_WIDTH, _TILE_HEIGHT))
        check_size(*tile, pixel_bytes=pixel_bytes, max_pixels=max_pixels)
    if width * height * pixel_bits > 8 * _MAX_RATIO * len(data):
        raise ImageError("the TIFF is cut off: its data are too short for its size")
    tags = _tags(reduced)
    if tags is None:
        raise ImageError(DAMAGED)
    orientation = (numbers.get(_ORIENTATION) or (1,))[0]
    return Complete(reduced, tags, orientation if orientation in range(1, 9) else 1)


def _reduced(data: bytes) -> tuple[dict[int, tuple[int, ...]], bytes]:
    """Return the whole numbers of the needed tags, and a file without other tags and images."""
    order = "<" if data[:2] == b"II" else ">"
    is_big = b"+" in data[2:4]
    # How the number of entries, one entry, and an offset are written.
    count_code, entry_code, offset_code = ("Q", "HHQ8s", "Q") if is_big else ("H", "HHI4s", "I")
    entry, offset = struct.Struct(order + entry_code), struct.Struct(order + offset_code)
    header = 8 if is_big else 4
    (start,) = offset.unpack_from(data, header)
    (count,) = struct.unpack_from(order + count_code, data, start)
    begin = start + struct.calcsize(order + count_code)
    if count * entry.size > len(data) - begin:
        raise ImageError(DAMAGED)
    numbers: dict[int, tuple[int, ...]] = {}
    kept: list[bytes] = []
    total = 0
    for at in range(begin, begin + count * entry.size, entry.size):
        tag, kind, length, inside = entry.unpack_from(data, at)
        if tag not in _NEEDED or tag in numbers:
            continue
        size = length * _SIZES.get(kind, 1)
        total += size
        # Values of an honest file do not overlap.
        if total > len(data):
            raise ImageError(DAMAGED)
        if size <= offset.size:
            content = inside[:size]
        else:
            (place,) = offset.unpack(inside)
            if place < header + offset.size:
                raise ImageError(DAMAGED)
            content = data[place : place + size]
        code = _WHOLE.get(kind)
        numbers[tag] = struct.unpack(f"{order}{length}{code}", content) if code else ()
        if tag != _ORIENTATION:
            kept.append(data[at : at + entry.size])
    # The old directory remains, because values may be inside of it.
    end = len(data) + len(data) % 2
    return numbers, b"".join([
        data[:header], offset.pack(end), data[header + offset.size :], bytes(len(data) % 2),
        struct.pack(order + count_code, len(kept)), *kept, bytes(offset.size),
    ])  # fmt: skip


def read_deep(image: Complete) -> NDArray[Any] | None:
    """Return the pixels of a TIFF of more than 8 bits or with a sign, as they are stored.

    They are HxW or HxWx3 or HxWx4 in BGR order. Return None for other files, which Pillow reads.
    Raises ImageError.
    """
    data, tags, _ = image
    bits, sample_format = _all_equal(tags, _BITS, 1), _all_equal(tags, _SAMPLE_FORMAT, 1)
    is_8_bits = bits == 8 and sample_format not in (2, 3)
    if bits is None or bits < 8 or is_8_bits:
        return None
    pixels = _plain(data, tags, bits, sample_format or 1)
    return decode(data) if pixels is None else pixels


def decode(data: bytes) -> NDArray[Any] | None:
    """Return what OpenCV reads of a complete TIFF, None if that is nothing."""
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:
        return None


def _tags(data: bytes) -> TiffImagePlugin.ImageFileDirectory_v2 | None:
    try:
        header = data[:16] if data[2:3] == b"+" or data[3:4] == b"+" else data[:8]
        tags = TiffImagePlugin.ImageFileDirectory_v2(header)
        file = io.BytesIO(data)
        file.seek(tags.next)
        tags.load(file)
    except Exception:  # The parser raises errors of any class for broken files.
        return None
    return tags


def _all_equal(tags: TiffImagePlugin.ImageFileDirectory_v2, tag: int, default: int) -> int | None:
    values = tags.get(tag, default)
    each = set(values) if isinstance(values, tuple) else {values}
    return int(each.pop()) if len(each) == 1 else None


def _plain(
    data: bytes, tags: TiffImagePlugin.ImageFileDirectory_v2, bits: int, sample_format: int
) -> NDArray[Any] | None:
    """Return the pixels of a plain layout, None for another one. Raises ImageError."""
    compression, channels = tags.get(_COMPRESSION, 1), int(tags.get(_CHANNELS, 1))
    is_plain = (
        compression in (_PLAIN, *_DEFLATED)
        and tags.get(_PREDICTOR, 1) == 1
        and (tags.get(_PLANES, 1) == 1 or channels == 1)
        and tags.get(_PHOTOMETRIC, 1) in (_WHITE_IS_ZERO, 1, 2)
        and channels in (1, 3, 4)
        and _OFFSETS in tags
        and _LENGTHS in tags
        and bits in (8, 16, 32, 64)
        and sample_format in _KINDS
        and not (sample_format == 3 and bits == 8)
    )
    if not is_plain:
        return None
    dtype = np.dtype(f"{'>' if data[:2] == b'MM' else '<'}{_KINDS[sample_format]}{bits // 8}")
    shape = (int(tags[_HEIGHT]), int(tags[_WIDTH]), channels)
    needed = int(np.prod(shape)) * dtype.itemsize
    strips = bytearray()
    for offset, length in zip(tags[_OFFSETS], tags[_LENGTHS], strict=False):
        if len(strips) >= needed:
            break
        strip = data[offset : offset + length]
        strips += strip if compression == _PLAIN else _inflated(strip, needed)
    if not needed or len(strips) < needed:
        raise ImageError(f"the TIFF is cut off: it has {len(strips)} of {needed} bytes of pixels")
    pixels = np.frombuffer(strips, dtype, count=needed // dtype.itemsize).reshape(shape)
    native = pixels.astype(dtype.newbyteorder("="), copy=False)
    if tags.get(_PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        native = np.iinfo(native.dtype).max - native if native.dtype.kind == "u" else -1 - native
    if channels == 1:
        return native[..., 0]
    return native[..., [2, 1, 0, 3][:channels]]


def _inflated(strip: bytes, limit: int) -> bytes:
    try:
        return inflate(strip, limit)
    except UntrustedError:
        return b""
