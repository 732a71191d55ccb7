"""Whether a PNG is complete, which decoders answer differently.

OpenCV refuses a PNG whose last bytes are missing although all of its pixels are there, and Pillow
accepts wrong checksums. Here a PNG is complete if all of its pixels are there and no chunk that
matters is damaged (PNG specification, sections 5 and 10).
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator

from deep_perception.images.pixels import ImageError, check_size

SIGNATURE = b"\x89PNG\r\n\x1a\n"
CUT_OFF = "the PNG is cut off: the end of its image data is missing"
DAMAGED = "the PNG is damaged: the checksum of its {} chunk is wrong"

_END = b"IEND"
_DATA = b"IDAT"
_ANIMATION = (b"acTL", b"fcTL", b"fdAT")
# Size of the header of a zlib stream; the checksum at its end is no part of the pixels.
_ZLIB_HEADER = 2
_BLOCK = 1 << 20
# Up to the width and height of the first chunk.
_HEADER_SIZE = 24


def complete(data: bytes) -> bytes:
    """Return a PNG that every decoder reads alike, if no pixels are missing. Raises ImageError.

    Of an animation the image remains that a decoder without animations shows.
    """
    if len(data) >= _HEADER_SIZE:
        check_size(*struct.unpack_from(">II", data, 16))
    others: list[bytes] = []
    is_animated = False
    packed = bytearray()
    for name, content, is_whole in _chunks(data):
        if name == _END and is_whole and not is_animated:
            return data
        is_animated |= name == _ANIMATION[0]
        if name == _DATA:
            packed += content
        elif is_whole and name not in (_END, *_ANIMATION):
            others.append(_chunk(name, content))
    # Without its end, a PNG may still have all of its pixels.
    pixels = _pixels_only(bytes(packed))
    return b"".join([SIGNATURE, *others, _chunk(_DATA, pixels), _chunk(_END, b"")])


def _pixels_only(packed: bytes) -> bytes:
    """Return the zlib stream of all pixels with its checksum, which may be missing at first."""
    inflate = zlib.decompressobj(-zlib.MAX_WBITS)
    left, checksum = packed[_ZLIB_HEADER:], 1
    try:
        while not inflate.eof:
            raw = inflate.decompress(left, _BLOCK)
            left, checksum = inflate.unconsumed_tail, zlib.adler32(raw, checksum)
            if not raw:
                break
    except zlib.error:
        raise ImageError(CUT_OFF) from None
    if not inflate.eof:
        raise ImageError(CUT_OFF)
    return packed[: len(packed) - len(inflate.unused_data)] + struct.pack(">I", checksum)


def bit_depth(data: bytes) -> int:
    """Return the bits of each channel, 0 if there is no header."""
    return data[24] if len(data) > 24 else 0


def _chunks(data: bytes) -> Iterator[tuple[bytes, bytes, bool]]:
    """Yield name and content of each chunk, and whether it is there as a whole."""
    position = len(SIGNATURE)
    while position + 8 <= len(data):
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
            raise ImageError(DAMAGED.format(name.decode("ascii", "backslashreplace")))
        yield name, content, is_whole


def _chunk(name: bytes, content: bytes) -> bytes:
    checksum = zlib.crc32(content, zlib.crc32(name))
    return struct.pack(">I", len(content)) + name + content + struct.pack(">I", checksum)
