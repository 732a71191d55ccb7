"""Decode an image and its mask from one PNG, in the format of NVIDIA's own server.

The PNG is the whole image with an alpha channel; the mask is where alpha is above 0. The colours
outside of the mask are kept, because DAM uses them too.
"""

from __future__ import annotations

import base64
import binascii
import io

import numpy as np
from PIL import Image

from deep_perception.dam_server.errors import RequestError
from deep_perception.untrusted.text import printable

# A frame of 8K video has 33 million pixels.
MAX_PIXELS = 40_000_000

_PREFIX = "data:image/png;base64,"
_FORMAT = "send the image as an RGBA PNG whose alpha is above 0 on the region"


def open_png(url: str) -> Image.Image:
    """Return the image in a data URL, of which only the header is decoded. Raises RequestError.

    Only the data in the URL itself is read. The image has at most MAX_PIXELS.
    """
    if not url.startswith("data:"):
        raise _wrong(
            "picture_not_inline",
            f"image_url.url is no data URL (it begins with {printable(url[:16])}), and this server "
            f"fetches nothing: {_FORMAT}, {_PREFIX}...",
        )
    if not url.startswith(_PREFIX):
        raise _wrong(
            "picture_not_png",
            f"image_url.url begins with {printable(url[:32])} instead of {_PREFIX}: {_FORMAT}",
        )
    try:
        data = base64.b64decode(url[len(_PREFIX) :], validate=True)
    except (binascii.Error, ValueError) as error:
        raise _wrong("picture_not_base64", f"the image is no base64: {error}") from error
    return _open(data)


def _open(data: bytes) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=["PNG"])
    except Image.DecompressionBombError as error:
        raise _too_large(str(error)) from error
    except Exception as error:  # Pillow raises many types for a broken file.
        raise _undecodable(error) from error
    width, height = image.size
    if width * height > MAX_PIXELS:
        raise _too_large(f"{width}x{height} pixels")
    if image.mode != "RGBA":
        raise _wrong(
            "picture_without_alpha",
            f"the image's mode is {image.mode}, expected RGBA: {_FORMAT}",
        )
    return image


def split(image: Image.Image) -> tuple[Image.Image, Image.Image]:
    """Decode an image; return it as RGB and its mask (mode L, 0 or 255), of equal size.

    Raises RequestError.
    """
    try:
        image.load()
    except Exception as error:
        raise _undecodable(error) from error
    mask = np.asarray(image.getchannel("A")) > 0
    if not mask.any():
        raise _wrong("mask_empty", f"the mask is empty (alpha is 0 everywhere): {_FORMAT}")
    return image.convert("RGB"), Image.fromarray(mask.astype(np.uint8) * 255)


def _wrong(code: str, message: str) -> RequestError:
    return RequestError(400, code, message)


def _undecodable(error: Exception) -> RequestError:
    return _wrong(
        "picture_undecodable", f"the image cannot be decoded as a PNG: {printable(error)}"
    )


def _too_large(what: str) -> RequestError:
    return _wrong(
        "picture_too_large", f"the image is too large ({what}); at most {MAX_PIXELS} pixels"
    )
