"""The JPEG, PNG or other image file inside of a message."""

from __future__ import annotations

import cv2
import numpy as np

from deep_perception.encodings.errors import EncodingError
from deep_perception.encodings.layouts import Pixels
from deep_perception.images import jpeg, png
from deep_perception.images.pixels import ImageError


def decode_image(data: bytes, format_: str) -> Pixels:
    """Decode a whole JPEG, PNG or other image file: HxW or HxWx3 or HxWx4 in BGR order.

    Raises EncodingError, also if a part of the image is missing.
    """
    try:
        if data.startswith(jpeg.SIGNATURE):
            data = jpeg.complete(data)
            pixels = _decode(data, format_)
            jpeg.check_tail(data, pixels)
            return pixels
        if data.startswith(png.SIGNATURE):
            data = png.complete(data)
        return _decode(data, format_)
    except ImageError as error:
        raise EncodingError(f"format {format_!r}: {error}") from None


def _decode(data: bytes, format_: str) -> Pixels:
    # The unchanged image keeps its bits and its mosaic; its EXIF orientation is ignored.
    try:
        decoded = (
            cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED) if data else None
        )
    except cv2.error:  # The header claims more pixels than OpenCV accepts.
        decoded = None
    if decoded is None or decoded.size == 0:
        raise EncodingError(
            f"{len(data)} bytes of format {format_!r} cannot be decoded; expected jpeg or png"
        )
    return decoded
