"""The memory layouts of ``sensor_msgs/Image``, and their pixels in BGR order.

Pixels of 8 bits are HxWx3 uint8 BGR when they leave this module. All others are ``Deep``: HxW, or
HxWx3 in BGR order, with the values that the message has.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images.intensity import Deep
from deep_perception.images.pixels import BgrImage

Pixels = NDArray[Any]
Decoded: TypeAlias = "BgrImage | Deep"

# OpenCV names a Bayer pattern by its second row, sensor_msgs by its first.
BAYER = {
    "bayer_rggb": cv2.COLOR_BayerBG2BGR,
    "bayer_bggr": cv2.COLOR_BayerRG2BGR,
    "bayer_gbrg": cv2.COLOR_BayerGR2BGR,
    "bayer_grbg": cv2.COLOR_BayerGB2BGR,
}
# The single-channel encodings whose values are brightnesses.
LIGHT = frozenset({"mono8", "mono16"})


@dataclass(frozen=True)
class Layout:
    """The memory layout of one encoding, and the conversion of its pixels."""

    dtype: str
    channels: int
    convert: Callable[[Pixels], Decoded]
    half_rows: int = 2
    """Rows of data per two rows of the image: 3 if a colour plane of half the height follows."""


def grey(pixels: Pixels, *, is_light: bool = False) -> Decoded:
    """Return the pixels of HxW values."""
    if pixels.dtype != np.uint8:
        return Deep(pixels, is_light)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)


def bgr(pixels: Pixels) -> Decoded:
    """Return the pixels of HxWx3 values, or of HxWx4 without the last channel, in BGR order."""
    colors = np.ascontiguousarray(pixels[..., :3])
    return colors if colors.dtype == np.uint8 else Deep(colors, is_light=True)


def rgb(pixels: Pixels) -> Decoded:
    """Return the pixels of HxWx3 or HxWx4 values in RGB order."""
    return bgr(pixels[..., 2::-1])


def demosaic(pixels: Pixels, pattern: str) -> Decoded:
    """Return the pixels of an HxW mosaic of 8 or 16 bits. ``pattern`` is a key of BAYER."""
    return bgr(cv2.cvtColor(pixels, BAYER[pattern]))


def _cv(code: int) -> Callable[[Pixels], BgrImage]:
    return lambda pixels: cv2.cvtColor(pixels, code).astype(np.uint8, copy=False)


def _mosaic(pattern: str, dtype: str) -> Layout:
    return Layout(dtype, 1, lambda pixels: demosaic(pixels, pattern))


def _light(pixels: Pixels) -> Decoded:
    return grey(pixels, is_light=True)


ENCODINGS: dict[str, Layout] = {
    "rgb8": Layout("u1", 3, _cv(cv2.COLOR_RGB2BGR)),
    "bgr8": Layout("u1", 3, bgr),
    "rgba8": Layout("u1", 4, _cv(cv2.COLOR_RGBA2BGR)),
    "bgra8": Layout("u1", 4, _cv(cv2.COLOR_BGRA2BGR)),
    "rgb16": Layout("u2", 3, rgb),
    "bgr16": Layout("u2", 3, bgr),
    "rgba16": Layout("u2", 4, rgb),
    "bgra16": Layout("u2", 4, bgr),
    "mono8": Layout("u1", 1, _light),
    "mono16": Layout("u2", 1, _light),
    **{f"{pattern}8": _mosaic(pattern, "u1") for pattern in BAYER},
    **{f"{pattern}16": _mosaic(pattern, "u2") for pattern in BAYER},
    "yuv422": Layout("u1", 2, _cv(cv2.COLOR_YUV2BGR_UYVY)),
    "uyvy": Layout("u1", 2, _cv(cv2.COLOR_YUV2BGR_UYVY)),
    "yuv422_yuy2": Layout("u1", 2, _cv(cv2.COLOR_YUV2BGR_YUY2)),
    "yuyv": Layout("u1", 2, _cv(cv2.COLOR_YUV2BGR_YUY2)),
    "nv21": Layout("u1", 1, _cv(cv2.COLOR_YUV2BGR_NV21), half_rows=3),
    "nv12": Layout("u1", 1, _cv(cv2.COLOR_YUV2BGR_NV12), half_rows=3),
    # OpenCV's own names: bits, kind and channels. Colours are in BGR order, as cv_bridge has them.
    **{
        f"{bits}{kind}C{channels}": Layout(f"{code}{bits // 8}", channels, convert)
        for bits, kind, code in (
            (8, "U", "u"), (8, "S", "i"), (16, "U", "u"), (16, "S", "i"), (16, "F", "f"),
            (32, "S", "i"), (32, "F", "f"), (64, "F", "f"),
        )
        for channels, convert in ((1, grey), (3, bgr), (4, bgr))
    },
}  # fmt: skip
_BY_LOWER_CASE = {name.lower(): name for name in ENCODINGS}


def canonical_name(encoding: str) -> str:
    """Return the name in ENCODINGS whatever the case and spaces around it, or the text itself."""
    return _BY_LOWER_CASE.get(encoding.strip().lower(), encoding.strip())
