"""The JPEG, PNG or TIFF file inside of a message.

Other formats are refused by their first bytes, whatever the message says: their decoders are not
reached by anybody who can publish an image.
"""

from __future__ import annotations

import cv2
import numpy as np

from deep_perception.encodings.errors import EncodingError
from deep_perception.encodings.layouts import Pixels
from deep_perception.images import jpeg, png, tiff
from deep_perception.images.pixels import MAX_COMPRESSED_BYTES, MAX_MESSAGE_PIXELS, ImageError
from deep_perception.untrusted.text import printable


def decode_image(data: bytes, format_: str) -> Pixels:
    """Decode a whole JPEG or PNG file: HxW or HxWx3 or HxWx4 in BGR order.

    A TIFF file, in which image_transport sends floats, is decoded if ``format_`` says so. Raises
    EncodingError, also if a part of the image is missing or the image is too large.
    """
    try:
        if len(data) > MAX_COMPRESSED_BYTES:
            raise ImageError(
                f"too large ({len(data) / 1e6:.0f} MB, at most {MAX_COMPRESSED_BYTES / 1e6:.0f} MB)"
            )
        return _decode(data, format_)
    except ImageError as error:
        raise EncodingError(f"format '{printable(format_)}': {error}") from None
    except MemoryError:
        raise EncodingError(f"format '{printable(format_)}': does not fit into memory") from None


def _decode(data: bytes, format_: str) -> Pixels:
    if data.startswith(jpeg.SIGNATURE):
        image = jpeg.complete(data, MAX_MESSAGE_PIXELS)
        pixels = _pixels(image.data) if image.pixels is None else image.pixels
        jpeg.check_tail(image, pixels)
        return pixels
    if data.startswith(png.SIGNATURE):
        return _pixels(png.complete(data, MAX_MESSAGE_PIXELS).data)
    if data.startswith(tiff.SIGNATURES) and "tif" in format_.lower():
        return _pixels(tiff.complete(data, MAX_MESSAGE_PIXELS).data)
    raise ImageError(f"{len(data)} bytes cannot be decoded; expected jpeg or png")


def _pixels(data: bytes) -> Pixels:
    # The unchanged image keeps its bits and its mosaic; its EXIF orientation is ignored.
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    except cv2.error:  # Such as headers that OpenCV does not accept.
        decoded = None
    if decoded is None or decoded.size == 0:
        raise ImageError(f"{len(data)} bytes cannot be decoded; expected jpeg or png")
    return decoded
