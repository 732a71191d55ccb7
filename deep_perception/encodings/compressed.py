"""Images in ``sensor_msgs/CompressedImage``, as the publishers of image_transport write them.

``format`` is one word (``jpeg``), or the encoding of the raw image, a semicolon, and how it was
compressed: ``rgb8; jpeg compressed bgr8``. The bytes say whether it is a JPEG or a PNG; the
encoding says what the pixels mean, and the last word in which order the colours were compressed.
"""

from __future__ import annotations

import re

import numpy as np

from deep_perception.encodings import depth
from deep_perception.encodings.files import decode_image
from deep_perception.encodings.layouts import (
    BAYER,
    LIGHT,
    Decoded,
    bgr,
    canonical_name,
    demosaic,
    grey,
    rgb,
)

# "compressed rgb8": what a decoder takes for blue is red.
_SWAPPED = re.compile(r"compressed\s+rgb", re.IGNORECASE)


def decode_compressed(data: bytes, format_: str) -> Decoded:
    """Return the pixels of a compressed image as those of the raw image. Raises EncodingError."""
    encoding = canonical_name(format_.partition(";")[0])
    if depth.MARK in format_.lower():
        return grey(depth.decode(data, encoding, format_))
    pixels = decode_image(data, format_)
    if pixels.ndim == 3:
        return rgb(pixels) if _SWAPPED.search(format_) else bgr(pixels)
    pattern = encoding.lower().rstrip("0123456789")
    if pattern in BAYER and pixels.dtype in (np.uint8, np.uint16):
        return demosaic(pixels, pattern)
    return grey(pixels, is_light=encoding in LIGHT)
