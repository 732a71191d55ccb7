"""The sizes in the headers of image files that decoders would reserve memory for unasked.

Of JPEG, PNG and TIFF the modules of these formats read them; of the other formats Pillow reads the
header alone.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator

from deep_perception.images.pixels import ImageError, check_size

# What Pillow does not read, or only some of its versions.
RADIANCE, FLOATS = (b"#?RADIANCE", b"#?RGBE"), (b"PF\n", b"PF ", b"Pf\n", b"Pf ")
JPEG_2000 = (b"\0\0\0\x0cjP  \r\n\x87\n", b"\xff\x4f\xff\x51")
_RADIANCE_SIZE = re.compile(rb"[-+]Y\s{1,9}(\d{1,9})\s{1,9}[-+]X\s{1,9}(\d{1,9})")
_FLOATS_SIZE = re.compile(rb"P[Ff]\s{1,9}(\d{1,9})\s{1,9}(\d{1,9})")
_CODESTREAM = b"\xff\x4f\xff\x51"
# Memory for each pixel: floats, the whole numbers of JPEG 2000, two canvases of WebP.
_DEEP, _CANVASES = 12, 8
# A run of 127 equal bytes takes two.
_MAX_RATIO = 64


def check(data: bytes) -> None:
    """Raise ImageError if the header says that the image is too large."""
    for width, height, pixel_bytes, needed in _sizes(data):
        check_size(width, height, pixel_bytes=pixel_bytes)
        if needed > len(data):
            raise ImageError(f"is cut off: its data are too short for {width}x{height} pixels")


def _sizes(data: bytes) -> Iterator[tuple[int, int, int, int]]:
    """Yield each width, height, memory for a pixel, and the least size of the file."""
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        width, height = _webp(data)
        yield width, height, _CANVASES, 0
    elif data.startswith(RADIANCE):
        # A comment may look like the size: each has to be small enough.
        found = _RADIANCE_SIZE.findall(data)
        if not found:
            raise ImageError("is damaged: its header has no size")
        for height, width in found:
            yield int(width), int(height), _DEEP, int(width) * int(height) // _MAX_RATIO
    elif data.startswith(FLOATS):
        match = _FLOATS_SIZE.match(data)
        if match is None:
            raise ImageError("is damaged: its header has no size")
        width, height = int(match[1]), int(match[2])
        yield width, height, _DEEP, 4 * width * height * (3 if data[1:2] == b"F" else 1)
    elif data.startswith(JPEG_2000):
        start = data.find(_CODESTREAM)
        if start < 0 or len(data) < start + 24:
            raise ImageError("is damaged: its header has no size")
        right, bottom, left, top = struct.unpack_from(">4I", data, start + 8)
        yield right - left, bottom - top, _DEEP, 0


def _webp(data: bytes) -> tuple[int, int]:
    kind, body = data[12:16], data[20:30]
    if len(body) < 10:
        raise ImageError("is damaged: its header has no size")
    if kind == b"VP8X":
        return 1 + int.from_bytes(body[4:7], "little"), 1 + int.from_bytes(body[7:10], "little")
    if kind == b"VP8L":
        bits = int.from_bytes(body[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    width, height = struct.unpack_from("<HH", body, 6)
    return width & 0x3FFF, height & 0x3FFF
