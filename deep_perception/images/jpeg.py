"""Whether a JPEG is complete, which decoders answer differently.

libjpeg fills what is missing with grey, one version of OpenCV refuses such an image, another one
returns it half black, and Pillow refuses it even if only the two bytes of the end are missing.
Here a JPEG is complete if the data of its last block are there (ITU-T T.81, annexes B and F).
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images.pixels import ImageError

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
CUT_OFF = "the JPEG is cut off: the end of its image data is missing"
DAMAGED = "the JPEG is damaged: a part of its image data is missing"

# Markers: of frame headers, of frame headers with several passes, and those without a length.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_EOI, _SOS, _DRI, _SOI = 0xD9, 0xDA, 0xDD, 0xD8
_BARE = {0x01, _SOI, *range(0xD0, 0xD8)}
# What may follow image data: tables, another scan, comments, application data, the end.
_AFTER_SCAN = {0xC4, 0xCC, 0xDB, 0xDC, _DRI, _SOS, _EOI, 0xFE, *range(0xE0, 0xF0)}
# In image data, 0xFF is followed by 0, by 0xFF or by the number of a restart interval.
_RESTARTS = range(0xD0, 0xD8)
_IS_MARKER = np.array([code not in (0, 0xFF, *_RESTARTS) for code in range(256)])
# Image data that differ from each other and from zeros in the first bit on.
_FILLERS = tuple(
    bytes([first, *((7 * i * i + 31 * i + first) % 255 for i in range(400))])
    for first in (0x00, 0x55, 0xAA, 0xFE)
)


def complete(data: bytes) -> bytes:
    """Return a JPEG with its end marker, if no image data are missing.

    What follows the end is kept, because every decoder ignores it. Raises ImageError.
    """
    structure = _Structure()
    end = structure.read(data)
    if not structure.has_scan:
        raise ImageError(CUT_OFF)
    if structure.lacks_intervals:
        raise ImageError(DAMAGED if structure.is_ended else CUT_OFF)
    if structure.is_ended:
        if structure.is_progressive and _depends_on_more(data[: end - len(END)], structure):
            raise ImageError(CUT_OFF)
        return data
    # A camera's buffer may be longer than its image. A scan hardly ends with two zeros, because its
    # last byte is filled with ones.
    stripped = data[:end].rstrip(b"\0")
    body = data[: min(end, len(stripped) + 2)].rstrip(b"\xff")
    if _depends_on_more(body, structure):
        raise ImageError(CUT_OFF)
    return body + END


def check_tail(data: bytes, pixels: NDArray[Any]) -> None:
    """Raise ImageError if a complete JPEG was cut off before it got an end marker.

    ``pixels`` are the decoded image, HxW or HxWxC uint8. It costs time only if the last pixels have
    the grey that decoders fill missing data with.
    """
    if not (pixels[-2:, -2:].astype(np.int16) == 128).all():
        return
    structure = _Structure()
    end = structure.read(data)
    if _depends_on_more(data[: end - len(END)], structure, cv2.IMREAD_REDUCED_COLOR_8):
        raise ImageError(CUT_OFF)


def _depends_on_more(body: bytes, structure: _Structure, flags: int = cv2.IMREAD_UNCHANGED) -> bool:
    """Whether the image changes with data that follow: then a decoder still expects some."""
    if structure.lacks_passes:
        return True
    first = _decoded(body + END, flags)
    if first is None:
        return True
    for filler in _FILLERS:
        other = _decoded(body + filler + END, flags)
        if other is None or not np.array_equal(first, other):
            return True
    return False


def _decoded(data: bytes, flags: int) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


@dataclass
class _Structure:
    """What the segments of a JPEG say about its image data."""

    is_ended: bool = False
    has_scan: bool = False
    is_progressive: bool = False
    lacks_intervals: bool = False
    """Whether restart markers are missing."""
    _interval: int = 0
    _components: dict[int, tuple[int, int]] = field(default_factory=dict)
    _missing: dict[int, set[int]] = field(default_factory=dict)
    _size: tuple[int, int] = (0, 0)

    @property
    def lacks_passes(self) -> bool:
        """Whether a component has no scan, or a pass of a progressive JPEG is missing."""
        return any(self._missing.values())

    def read(self, data: bytes) -> int:
        """Read all segments, and return where the image ends: behind its end marker, if any.

        Embedded images are inside of segments, and are skipped with them. Raises ImageError.
        """
        try:
            return self._read(data)
        except (LookupError, ValueError, ArithmeticError, struct.error):
            raise ImageError("the JPEG is damaged: its headers are not consistent") from None

    def _read(self, data: bytes) -> int:
        position = 2
        while True:
            while data[position : position + 2] == b"\xff\xff":
                position += 1
            marker = data[position + 1] if len(data) > position + 1 else None
            if marker is None:
                return len(data)
            if data[position] != 0xFF:
                # Some cameras put a stray byte in front of a marker.
                found = data.find(b"\xff", position)
                position = found if found >= 0 else len(data)
                continue
            if marker == _EOI:
                self.is_ended = True
                return position + 2
            if marker in _BARE:
                position += 2
                continue
            length = int.from_bytes(data[position + 2 : position + 4], "big")
            content = data[position + 4 : position + 2 + length]
            if length < 2 or len(content) < length - 2:
                return len(data)
            position += 2 + length
            self._segment(marker, content)
            if marker == _SOS:
                position = self._scan(data, position, content)
                if position >= len(data) or data[position + 1] not in _AFTER_SCAN:
                    return position

    def _segment(self, marker: int, content: bytes) -> None:
        if marker in _FRAMES:
            self.is_progressive = marker in _PROGRESSIVE
            _, height, width, count = struct.unpack_from(">BHHB", content)
            self._size = width, height
            for at in range(6, 6 + 3 * count, 3):
                self._components[content[at]] = content[at + 1] >> 4, content[at + 1] & 15
                self._missing[content[at]] = set(range(64))
        elif marker == _DRI:
            (self._interval,) = struct.unpack(">H", content[:2])
        elif marker == _SOS:
            self.has_scan = True

    def _scan(self, data: bytes, start: int, header: bytes) -> int:
        """Read the image data of a scan, and return where the next marker is."""
        rest = np.frombuffer(data, np.uint8, offset=start) if start < len(data) else np.empty(0)
        marks = np.flatnonzero(rest[:-1] == 0xFF)
        codes = rest[marks + 1].astype(np.intp)
        markers = np.flatnonzero(_IS_MARKER[codes])
        end = start + int(marks[markers[0]]) if markers.size else len(data)
        scanned = [header[1 + 2 * index] for index in range(header[0])]
        first, last, precision = header[1 + 2 * len(scanned) :][:3]
        for component in scanned:
            if not self.is_progressive:
                self._missing[component] = set()
            elif not precision & 15:
                self._missing[component] -= set(range(first, last + 1))
        if self._interval:
            intervals = -(-self._units(scanned) // self._interval)
            inside = codes[: markers[0]] if markers.size else codes
            restarts = np.isin(inside, _RESTARTS).sum()
            self.lacks_intervals |= bool(restarts < intervals - 1)
        return end

    def _units(self, scanned: list[int]) -> int:
        """The number of units that restart intervals count: blocks, or groups of blocks."""
        (width, height), sizes = self._size, self._components.values()
        widest, highest = max(h for h, _ in sizes), max(v for _, v in sizes)
        if len(scanned) > 1:
            return -(-width // (8 * widest)) * -(-height // (8 * highest))
        h, v = self._components[scanned[0]]
        return -(-(width * h) // (8 * widest)) * -(-(height * v) // (8 * highest))
