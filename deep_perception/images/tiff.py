"""TIFF files of more than 8 bits or with a sign, which Pillow and older versions of OpenCV misread.

Pillow wraps some types and reduces 16-bit colours; OpenCV before 5 knows no unsigned 32-bit, no
64-bit integers and no half floats. The plain layouts that cameras and numerical programs write
(strips, pixels together, not compressed or deflated) are therefore read here.
"""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import TiffImagePlugin

from deep_perception.images.pixels import ImageError, check_size

# Byte order marks, with the version number of TIFF and of BigTIFF.
SIGNATURES = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")

_WIDTH, _HEIGHT, _BITS, _COMPRESSION, _PHOTOMETRIC = 256, 257, 258, 259, 262
_OFFSETS, _ORIENTATION, _CHANNELS, _LENGTHS, _PLANES, _PREDICTOR = 273, 274, 277, 279, 284, 317
_SAMPLE_FORMAT = 339
_PLAIN, _DEFLATED = 1, (8, 32946)
_WHITE_IS_ZERO = 0
_KINDS = {1: "u", 2: "i", 3: "f"}


def read_deep(data: bytes) -> tuple[NDArray[Any], int] | None:
    """Return the pixels of a TIFF of more than 8 bits or with a sign, and its orientation.

    They are HxW or HxWx3 or HxWx4 in BGR order. Return None for other files, which Pillow reads.
    Raises ImageError.
    """
    tags = _tags(data)
    if tags is None:
        return None
    bits, sample_format = _all_equal(tags, _BITS, 1), _all_equal(tags, _SAMPLE_FORMAT, 1)
    is_8_bits = bits == 8 and sample_format not in (2, 3)
    if bits is None or bits < 8 or is_8_bits:
        return None
    check_size(int(tags.get(_WIDTH, 0)), int(tags.get(_HEIGHT, 0)))
    pixels = _plain(data, tags, bits, sample_format or 1)
    if pixels is None:
        try:
            pixels = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
        except cv2.error:
            pixels = None
        # OpenCV has applied an orientation that only mirrors; the others do not occur here.
        return None if pixels is None else (pixels, 1)
    orientation = tags.get(_ORIENTATION, 1)
    return pixels, int(orientation) if orientation in range(1, 9) else 1


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
    strips = b"".join(
        data[offset : offset + length]
        if compression == _PLAIN
        else _inflated(data[offset : offset + length])
        for offset, length in zip(tags[_OFFSETS], tags[_LENGTHS], strict=False)
    )
    dtype = np.dtype(f"{'>' if data[:2] == b'MM' else '<'}{_KINDS[sample_format]}{bits // 8}")
    shape = (int(tags[_HEIGHT]), int(tags[_WIDTH]), channels)
    needed = int(np.prod(shape)) * dtype.itemsize
    if not needed or len(strips) < needed:
        raise ImageError(f"the TIFF is cut off: it has {len(strips)} of {needed} bytes of pixels")
    pixels = np.frombuffer(strips, dtype, count=needed // dtype.itemsize).reshape(shape)
    native = pixels.astype(dtype.newbyteorder("="), copy=False)
    if tags.get(_PHOTOMETRIC, 1) == _WHITE_IS_ZERO:
        native = np.iinfo(native.dtype).max - native if native.dtype.kind == "u" else -1 - native
    if channels == 1:
        return native[..., 0]
    return native[..., [2, 1, 0, 3][:channels]]


def _inflated(strip: bytes) -> bytes:
    try:
        return zlib.decompress(strip)
    except (zlib.error, struct.error):
        return b""
