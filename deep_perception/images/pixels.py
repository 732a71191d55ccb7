"""The image type of the package, its limits, and the error of images that cannot be used.

The size is read from the header of an image and compared with these limits before a decoder
reserves memory. All limits of images are here.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BgrImage = NDArray[np.uint8]

# Pixels of an image file: a stitched panorama or the largest photograph of a telephone. Decoded,
# they take 0.6 GB, and 2 to 4 GB while they are decoded.
MAX_PIXELS = 200_000_000
# Pixels of an image in a message, of a camera or a recording. One thread decodes the messages of
# all cameras: the slowest images of this size (noise; progressive JPEG and 16-bit PNG of half the
# size) take 1 to 2 s of one core, and the others wait for as long. Large cameras have 12 to 20
# megapixels. The DAM server accepts as many.
MAX_MESSAGE_PIXELS = 40_000_000
# Bytes that a decoder may take for each of these pixels. An image whose pixels take more may have
# fewer of them, so that the memory is the same.
PIXEL_BYTES = 4
# Bytes of the pixels of a raw message, and of the data of a compressed one: noise takes 1 to 3 for
# each pixel, and a photograph less.
MAX_MESSAGE_BYTES = PIXEL_BYTES * MAX_MESSAGE_PIXELS
MAX_COMPRESSED_BYTES = 2 * MAX_MESSAGE_PIXELS
# Width and height. Masks are encoded column by column.
MAX_SIDE = 200_000


class ImageError(ValueError):
    """An image cannot be analysed; the message is one line with the reason."""


def check_size(
    width: int, height: int, *, pixel_bytes: int = 3, max_pixels: int = MAX_PIXELS
) -> None:
    """Raise ImageError if an image has no pixels, or more than may be decoded.

    ``pixel_bytes`` is the memory that a decoder takes for each pixel, ``max_pixels`` the limit of
    images of up to PIXEL_BYTES.
    """
    if width < 1 or height < 1:
        raise ImageError(f"has no pixels ({width}x{height})")
    most = max_pixels * PIXEL_BYTES // max(PIXEL_BYTES, pixel_bytes)
    if width * height > most:
        deep = f", of which each takes {pixel_bytes} bytes" if pixel_bytes > PIXEL_BYTES else ""
        raise ImageError(
            f"too large ({width}x{height} pixels{deep}, at most {most / 10**6:.3g} megapixels)"
        )
    if max(width, height) > MAX_SIDE:
        raise ImageError(
            f"too large ({width}x{height} pixels, at most {MAX_SIDE} in a row or column)"
        )
