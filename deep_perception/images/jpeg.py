"""Whether a JPEG is complete, which decoders answer differently, and small enough to be decoded.

libjpeg fills what is missing with grey, one version of OpenCV refuses such an image, another one
returns it half black, and Pillow refuses it even if only the two bytes of the end are missing.
Here a JPEG is complete if the data of its last block are there (ITU-T T.81, annexes B and F).

A decoder gets only the segments that were checked here: no metadata, and nothing that it could
read in another way. So the size that was checked is the size that it decodes.
"""

from __future__ import annotations

import re
import struct
from dataclasses import dataclass, field
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images.pixels import MAX_PIXELS, ImageError, check_size

SIGNATURE = b"\xff\xd8\xff"
END = b"\xff\xd9"
CUT_OFF = "the JPEG is cut off: the end of its image data is missing"
DAMAGED = "the JPEG is damaged: a part of its image data is missing"
INCONSISTENT = "the JPEG is damaged: its headers are not consistent"

# Markers: of frame headers, of frame headers with several passes, and those without a length.
_FRAMES = {*range(0xC0, 0xD0)} - {0xC4, 0xC8, 0xCC}
_PROGRESSIVE = {0xC2, 0xC6, 0xCA, 0xCE}
_HUFFMAN = {0xC0, 0xC1, 0xC2, 0xC3}
_EOI, _SOS, _DRI, _SOI = 0xD9, 0xDA, 0xDD, 0xD8
_BARE = {0x01, _SOI, *range(0xD0, 0xD8)}
# What a decoder needs: frame headers, tables, and which colours the components are (JFIF, Adobe).
_NEEDED = {*_FRAMES, 0xC4, 0xCC, 0xDB, _DRI, _SOS, 0xE0, 0xEE}
# What may follow image data: tables, another scan, comments, application data, the end.
_AFTER_SCAN = {0xC4, 0xCC, 0xDB, 0xDC, _DRI, _SOS, _EOI, 0xFE, *range(0xE0, 0xF0)}
_EXIF, _XMP = b"Exif\0\0", b"http://ns.adobe.com/xap/1.0/\0"
# Some cameras put stray bytes in front of a marker, and every decoder skips them.
_MARKER = re.compile(rb"\xff[^\0\xff]")
# In image data, 0xFF is followed by 0, by 0xFF or by the number of a restart interval.
_SCAN_END = re.compile(rb"\xff[^\0\xff\xd0-\xd7]")
_RESTARTS = range(0xD0, 0xD8)
# Metadata of 65 kB each; a thermal or panoramic image has some hundred.
_MAX_SEGMENTS = 10_000
# Encoders write 10 passes. A thousand that contain nothing take minutes, so there may be 100 of a
# small image, and 20 of a large one.
_PASSES, _MAX_PASSES, _PASSED_PIXELS = 20, 100, 400_000_000
# A block of 8x8 pixels takes at least one bit, if all of them have one colour.
_BITS, _BLOCK = 8, 8
_COMPONENTS = (1, 3, 4)
# Memory and time of an image that is decoded in several passes, or several times, are twofold: it
# may have half the pixels.
_ONCE, _TWICE = 4, 8
# Bytes of image data for each pixel of the largest image: noise at quality 95 takes 1.
_ONCE_BYTES, _TWICE_BYTES = 2.0, 0.8
# Image data that differ from each other and from zeros in the first bit on.
_FILLERS = tuple(
    bytes([first, *((7 * i * i + 31 * i + first) % 255 for i in range(400))])
    for first in (0x55, 0x00, 0xAA, 0xFE)
)
# Pixels that are decoded to compare them: a small image is compared with all fillers, a large one
# with the first.
_COMPARED = 8_000_000


@dataclass(frozen=True, eq=False)
class Complete:
    """A complete JPEG as a decoder may get it, and its metadata.

    ``is_slow`` says that decoding it again takes too long. ``pixels`` are those of OpenCV if they
    had to be decoded to find out whether it is complete.
    """

    data: bytes
    exif: bytes
    xmp: bytes
    size: tuple[int, int]
    is_slow: bool
    pixels: NDArray[Any] | None = None


def complete(data: bytes, max_pixels: int = MAX_PIXELS) -> Complete:
    """Return a JPEG with its end marker, if no image data are missing.

    What follows the end is left out, as every decoder ignores it. Raises ImageError.
    """
    structure = _Structure(max_pixels)
    structure.read(data)
    if not structure.has_scan:
        raise ImageError(CUT_OFF)
    if structure.lacks_intervals:
        raise ImageError(DAMAGED if structure.is_ended else CUT_OFF)
    if structure.lacks_blocks:
        raise ImageError(CUT_OFF)
    body, pixels = b"".join([SIGNATURE[:2], *structure.kept]), None
    is_decoded = structure.is_progressive or not structure.is_ended
    structure.check_bytes(_TWICE_BYTES if is_decoded else _ONCE_BYTES)
    if not structure.is_ended:
        structure.check_size(_TWICE)
        # A camera's buffer may be longer than its image. A scan hardly ends with two zeros, because
        # its last byte is filled with ones.
        stripped = len(body.rstrip(b"\0"))
        body = body[: stripped + 2].rstrip(b"\xff")
    if is_decoded:
        pixels = _decoded(body + END)
        if structure.lacks_passes or _depends_on_more(body, pixels):
            raise ImageError(CUT_OFF)
    is_slow = len(body) > _TWICE_BYTES * max_pixels
    return Complete(body + END, structure.exif, structure.xmp, structure.size, is_slow, pixels)


def check_tail(image: Complete, pixels: NDArray[Any]) -> None:
    """Raise ImageError if a complete JPEG was cut off before it got an end marker.

    ``pixels`` are the decoded image or its lower right corner, HxW or HxWxC uint8. It costs time
    only if the last pixels have the grey that decoders fill missing data with.
    """
    if image.pixels is not None or image.is_slow:
        return
    if not (pixels[-2:, -2:] == 128).all():
        return
    body, flags = image.data[: -len(END)], cv2.IMREAD_REDUCED_COLOR_8
    if _depends_on_more(body, _decoded(image.data, flags), flags):
        raise ImageError(CUT_OFF)


def _depends_on_more(
    body: bytes, first: NDArray[Any] | None, flags: int = cv2.IMREAD_UNCHANGED
) -> bool:
    """Whether the image changes with data that follow: then a decoder still expects some."""
    if first is None:
        return True
    pixels = first.shape[0] * first.shape[1] * (64 if flags == cv2.IMREAD_REDUCED_COLOR_8 else 1)
    for filler in _FILLERS[: max(1, _COMPARED // pixels)]:
        other = _decoded(body + filler + END, flags)
        if other is None or not np.array_equal(first, other):
            return True
    return False


def _decoded(data: bytes, flags: int = cv2.IMREAD_UNCHANGED) -> NDArray[Any] | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error:
        return None


@dataclass
class _Structure:
    """What the segments of a JPEG say about its image data."""

    max_pixels: int
    is_ended: bool = False
    has_scan: bool = False
    is_progressive: bool = False
    lacks_intervals: bool = False
    """Whether restart markers are missing."""
    exif: bytes = b""
    xmp: bytes = b""
    kept: list[bytes] = field(default_factory=list)
    """What a decoder needs of the segments, with their image data."""
    size: tuple[int, int] = (0, 0)
    _marker: int = 0
    _interval: int = 0
    _passes: int = 0
    _scanned_bytes: int = 0
    _components: dict[int, tuple[int, int]] = field(default_factory=dict)
    _missing: dict[int, set[int]] = field(default_factory=dict)

    @property
    def lacks_passes(self) -> bool:
        """Whether a component has no scan, or a pass of a progressive JPEG is missing."""
        return any(self._missing.values())

    @property
    def lacks_blocks(self) -> bool:
        """Whether the image data are too short for as many pixels, whatever they show."""
        width, height = self.size
        blocks = -(-width // _BLOCK) * -(-height // _BLOCK)
        return self._marker in _HUFFMAN and _BITS * self._scanned_bytes < blocks

    def check_size(self, pixel_bytes: int) -> None:
        """Raise ImageError if an image of so many bytes for each pixel is too large."""
        check_size(*self.size, pixel_bytes=pixel_bytes, max_pixels=self.max_pixels)

    def check_bytes(self, pixel_bytes: float) -> None:
        """Raise ImageError if there are more image data than so many bytes for each pixel."""
        if self._scanned_bytes > pixel_bytes * self.max_pixels:
            raise ImageError(
                f"too large ({self._scanned_bytes / 1e6:.0f} MB of image data, at most "
                f"{pixel_bytes * self.max_pixels / 1e6:.0f} MB)"
            )

    def read(self, data: bytes) -> None:
        """Read all segments up to the end of the image. Raises ImageError.

        Embedded images are inside of segments, and are skipped with them.
        """
        try:
            self._read(data)
        except ImageError:
            raise
        except (LookupError, ValueError, ArithmeticError, struct.error):
            raise ImageError(INCONSISTENT) from None

    def _read(self, data: bytes) -> None:
        position = 2
        for _ in range(_MAX_SEGMENTS):
            found = _MARKER.search(data, position)
            if found is None:
                return
            start, marker = found.start(), data[found.start() + 1]
            if marker == _EOI:
                self.is_ended = True
                return
            if marker in _BARE:
                position = start + 2
                continue
            position = start + 2 + int.from_bytes(data[start + 2 : start + 4], "big")
            content = data[start + 4 : position]
            if position < start + 4 or position > len(data):
                return
            self._segment(marker, content)
            if marker in _NEEDED:
                self.kept.append(data[start:position])
            if marker == _SOS:
                position = self._scan(data, position, content)
                if position >= len(data) or data[position + 1] not in _AFTER_SCAN:
                    return
        raise ImageError(f"the JPEG is damaged: it has more than {_MAX_SEGMENTS} segments")

    def _segment(self, marker: int, content: bytes) -> None:
        if marker in _FRAMES:
            self._frame(marker, content)
        elif marker == _DRI:
            (self._interval,) = struct.unpack(">H", content[:2])
        elif marker == _SOS:
            self.has_scan = True
        elif marker == 0xE1 and content.startswith(_EXIF):
            self.exif = self.exif or content[len(_EXIF) :]
        elif marker == 0xE1 and content.startswith(_XMP):
            self.xmp = self.xmp or content[len(_XMP) :]

    def _frame(self, marker: int, content: bytes) -> None:
        if self._components:
            raise ImageError("the JPEG is damaged: it has several frame headers")
        self._marker = marker
        self.is_progressive = marker in _PROGRESSIVE
        _, height, width, count = struct.unpack_from(">BHHB", content)
        if count not in _COMPONENTS:
            raise ImageError(f"the JPEG is damaged: it has {count} colour components")
        self.size = width, height
        # Of an image in several scans all coefficients are kept, and a progressive one is decoded
        # more than once.
        self.check_size(_TWICE if self.is_progressive else _ONCE)
        for at in range(6, 6 + 3 * count, 3):
            self._components[content[at]] = content[at + 1] >> 4, content[at + 1] & 15
            self._missing[content[at]] = set(range(64))

    def _scan(self, data: bytes, start: int, header: bytes) -> int:
        """Read the image data of a scan, and return where the next marker is."""
        found = _SCAN_END.search(data, start)
        end = found.start() if found else len(data)
        self.kept.append(data[start:end])
        self._scanned_bytes += end - start
        scanned = [header[1 + 2 * index] for index in range(header[0])]
        self._count_pass(scanned)
        if len(scanned) < len(self._components):
            self.check_size(_TWICE)
        first, last, precision = header[1 + 2 * len(scanned) :][:3]
        for component in scanned:
            if not self.is_progressive:
                self._missing[component] = set()
            elif not precision & 15:
                self._missing[component] -= set(range(first, last + 1))
        if self._interval:
            intervals = -(-self._units(scanned) // self._interval)
            content = np.frombuffer(data[start:end], np.uint8)
            codes = content[1:][content[:-1] == 0xFF]
            restarts = np.isin(codes, _RESTARTS).sum()
            self.lacks_intervals |= bool(restarts < intervals - 1)
        return end

    def _count_pass(self, scanned: list[int]) -> None:
        self._passes += 1
        width, height = self.size
        most = min(_MAX_PASSES, max(_PASSES, _PASSED_PIXELS // (width * height)))
        is_again = not self.is_progressive and any(not self._missing[each] for each in scanned)
        if is_again or self._passes > most:
            raise ImageError(f"the JPEG is damaged: it has more than {self._passes - 1} scans")

    def _units(self, scanned: list[int]) -> int:
        """The number of units that restart intervals count: blocks, or groups of blocks."""
        (width, height), sizes = self.size, self._components.values()
        widest, highest = max(h for h, _ in sizes), max(v for _, v in sizes)
        if len(scanned) > 1:
            return -(-width // (8 * widest)) * -(-height // (8 * highest))
        h, v = self._components[scanned[0]]
        return -(-(width * h) // (8 * widest)) * -(-(height * v) // (8 * highest))
