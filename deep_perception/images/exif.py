"""How an image is turned upright, which its metadata say (EXIF 2.3, section 4.6.4).

Only the orientation is read. Parsers that read all tags take hundreds of megabytes for metadata of
64 kB whose values overlap.
"""

from __future__ import annotations

import re
import struct

import numpy as np

from deep_perception.images.pixels import BgrImage

_ORIENTATION = 0x0112
_PREFIX = b"Exif\0\0"
_ENTRY = 12
# How whole numbers of each type are written.
_WHOLE = {3: "H", 4: "I"}
# Programs that write no EXIF write XMP.
_XMP = re.compile(rb"tiff:Orientation\s{0,9}(?:=\s{0,9}[\"']|>)\s{0,9}([1-8])")
# How an image of each orientation is turned upright: flipped left-right, quarter turns left.
_UPRIGHT = {
    1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2),
    5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip


def orientation(exif: bytes | None, xmp: bytes | str | None = None) -> int:
    """Return the orientation in EXIF or else XMP data, 1 to 8; 1 if there is none."""
    found = _tag((exif or b"").removeprefix(_PREFIX))
    if found is None and xmp:
        match = _XMP.search(xmp.encode(errors="replace") if isinstance(xmp, str) else xmp)
        found = int(match[1]) if match else None
    return found if found in _UPRIGHT else 1


def _tag(exif: bytes) -> int | None:
    order = {b"II": "<", b"MM": ">"}.get(exif[:2])
    if order is None:
        return None
    try:
        (start,) = struct.unpack_from(f"{order}I", exif, 4)
        (count,) = struct.unpack_from(f"{order}H", exif, start)
        for at in range(start + 2, start + 2 + count * _ENTRY, _ENTRY):
            tag, kind = struct.unpack_from(f"{order}HH", exif, at)
            if tag == _ORIENTATION:
                return int(struct.unpack_from(order + _WHOLE[kind], exif, at + 8)[0])
    except (struct.error, KeyError):
        pass
    return None


def upright(pixels: BgrImage, turned: int) -> BgrImage:
    """Return an image of an orientation (1 to 8) as it is to be seen."""
    is_mirrored, turns = _UPRIGHT[turned]
    if is_mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, turns))
