"""Whether a PNG is complete, which decoders answer differently, and small enough to be decoded.

OpenCV refuses a PNG whose last bytes are missing although all of its pixels are there, and Pillow
accepts wrong checksums. Here a PNG is complete if all of its pixels are there and no chunk that
matters is damaged (PNG specification, sections 5 and 10).

A decoder gets the header, the palette and the pixels only. Texts, colour profiles and animations,
which may be compressed bombs, are left out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field

from deep_perception.images.pixels import MAX_PIXELS, ImageError, check_size
from deep_perception.untrusted.text import printable

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CUT_OFF = "the PNG is cut off: the end of its image data is missing"
DAMAGED = "the PNG is damaged: the checksum of its {} chunk is wrong"
INCONSISTENT = "the PNG is damaged: its header is not consistent"

_HEADER, _PALETTE, _CLEAR, _DATA, _END = b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"
_EXIF, _TEXTS = b"eXIf", (b"tEXt", b"zTXt")
# ImageMagick's way to keep EXIF: a text in hexadecimal digits.
_RAW_EXIF = b"Raw profile type exif\0"
# Channels in the file and in memory of each colour type: transparency makes a grey image coloured.
_CHANNELS = {0: (1, 1), 2: (3, 3), 3: (1, 3), 4: (2, 4), 6: (4, 4)}
_PALETTE_TYPE = 3
_BIT_DEPTHS = (1, 2, 4, 8, 16)
# Size of the header of a zlib stream; the checksum at its end is no part of the pixels.
_ZLIB_HEADER = 2
_BLOCK = 1 << 16
# Deflate never makes data shorter by more than this factor.
_MAX_RATIO = 1032
# So many bytes are inflated in a fraction of a second, whatever they are.
_SMALL = 1 << 18
# Encoders write the pixels in chunks of 8 kB or more.
_MAX_CHUNKS = 100_000
_MAX_CHUNK = 1 << 20
_MAX_EXIF = 1 << 16


@dataclass(frozen=True)
class Complete:
    """A complete PNG as a decoder may get it, its bits of each channel and its metadata."""

    data: bytes
    bit_depth: int
    exif: bytes = field(repr=False)


def complete(data: bytes, max_pixels: int = MAX_PIXELS) -> Complete:
    """Return a PNG that every decoder reads alike, if no pixels are missing. Raises ImageError.

    Of an animation the image remains that a decoder without animations shows.
    """
    header: _Header | None = None
    kept: list[bytes] = []
    packed: list[bytes] = []
    exif, is_ended = b"", False
    for name, content, is_whole in _chunks(data):
        if header is None or name == _HEADER:
            if header is not None or name != _HEADER or not is_whole:
                raise ImageError(INCONSISTENT)
            header = _Header.read(content)
            header.check(max_pixels)
            kept.append(_chunk(name, content))
        elif name == _END:
            is_ended = is_whole
            break
        elif name == _DATA:
            packed.append(content)
        elif is_whole and name in (_PALETTE, _CLEAR):
            if name == _CLEAR:
                header.channels = 4
                header.check(max_pixels)
            kept.append(_chunk(name, content))
        elif is_whole and not exif:
            exif = _exif(name, content)
    pixels = b"".join(packed)
    if header is None or header.data_bytes > _MAX_RATIO * len(pixels):
        raise ImageError(CUT_OFF)
    # Without its end, a PNG may still have all of its pixels. With it there may be more data than
    # pixels, which libpng inflates, too.
    if not is_ended or len(pixels) > _SMALL:
        pixels = _pixels_only(pixels, 2 * header.data_bytes + _BLOCK)
    # OpenCV takes no chunk of more than 8 MB.
    for begin in range(0, len(pixels), _MAX_CHUNK):
        kept.append(_chunk(_DATA, pixels[begin : begin + _MAX_CHUNK]))
    whole = b"".join([SIGNATURE, *kept, _chunk(_END, b"")])
    return Complete(whole, header.bit_depth, exif)


@dataclass
class _Header:
    """The IHDR chunk. ``channels`` are those in memory."""

    width: int
    height: int
    bit_depth: int
    color_type: int
    channels: int = 0

    @classmethod
    def read(cls, content: bytes) -> _Header:
        if len(content) != 13:
            raise ImageError(INCONSISTENT)
        width, height, bit_depth, color_type = struct.unpack_from(">IIBB", content)
        if color_type not in _CHANNELS or bit_depth not in _BIT_DEPTHS:
            raise ImageError(INCONSISTENT)
        return cls(width, height, bit_depth, color_type, _CHANNELS[color_type][1])

    def check(self, max_pixels: int) -> None:
        pixel_bytes = self.channels * (2 if self.bit_depth == 16 else 1)
        check_size(self.width, self.height, pixel_bytes=pixel_bytes, max_pixels=max_pixels)

    @property
    def data_bytes(self) -> int:
        """The bytes of all pixels; those of an interlaced image are hardly more."""
        return self.height * (self.width * _CHANNELS[self.color_type][0] * self.bit_depth // 8)


def _pixels_only(packed: bytes, limit: int) -> bytes:
    """Return the zlib stream of all pixels with its checksum, which may be missing at first.

    Raises ImageError if the data do not end, or have more than ``limit`` bytes when inflated.
    """
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    checksum, size, position = 1, 0, _ZLIB_HEADER
    try:
        while not inflate.eof and position < len(packed):
            raw = inflate.decompress(packed[position : position + _BLOCK])
            position = min(position + _BLOCK, len(packed))
            checksum, size = zlib.adler32(raw, checksum), size + len(raw)
            if size > limit:
                raise ImageError(INCONSISTENT)
    except zlib.error:
        raise ImageError(CUT_OFF) from None
    if not inflate.eof:
        raise ImageError(CUT_OFF)
    return packed[: position - len(inflate.unused_data)] + struct.pack(">I", checksum)


def _exif(name: bytes, content: bytes) -> bytes:
    """Return the EXIF data in a chunk of metadata, empty if there are none."""
    if name == _EXIF:
        return content[:_MAX_EXIF]
    if name not in _TEXTS or not content.startswith(_RAW_EXIF):
        return b""
    text = content[len(_RAW_EXIF) :]
    try:
        if name == b"zTXt":
            text = zlib.decompressobj().decompress(text[1:], 3 * _MAX_EXIF)
        # A line with the name, one with the number of bytes, and the digits in lines.
        raw = bytes.fromhex("".join(text.decode("ascii").split("\n")[3:]))
    except (zlib.error, ValueError):
        return b""
    return raw.removeprefix(b"Exif\0\0")


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield name and content of each chunk, and whether it is there as a whole."""
    position = len(SIGNATURE)
    for _ in range(_MAX_CHUNKS):
        if position + 8 > len(data):
            return
        length, name = struct.unpack_from(">I4s", data, position)
        content = data[position + 8 : position + 8 + length]
        position += 8 + length
        checksum = data[position : position + 4]
        position += 4
        is_whole = len(content) == length and len(checksum) == 4
        # A capital letter says that no decoder may ignore the chunk.
        is_critical = not name[:1].islower()
        if (
            is_whole
            and is_critical
            and zlib.crc32(content, zlib.crc32(name)) != int.from_bytes(checksum, "big")
        ):
            raise ImageError(DAMAGED.format(printable(name.decode("latin-1"))))
        yield name, content, is_whole
    raise ImageError(f"the PNG is damaged: it has more than {_MAX_CHUNKS} chunks")


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
