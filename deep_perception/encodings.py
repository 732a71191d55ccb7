"""Conversion of camera messages to images and back: the encodings of ``sensor_msgs``, without ROS.

cv_bridge is not used: it has no wheel, its apt build is incompatible with numpy 2, and the caller
would still have to handle depth, compressed formats and their errors.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage, normalize, scale_16_to_8

Pixels = NDArray[Any]
Bytes: TypeAlias = "bytes | bytearray | memoryview | array[int]"


class EncodingError(ValueError):
    """An image message cannot be decoded; the text names the value and the supported ones."""


@dataclass(frozen=True)
class _Encoding:
    """The memory layout of one encoding, and the conversion of its pixels to BGR."""

    dtype: str
    channels: int
    convert: Callable[[Pixels], BgrImage]
    half_rows: int = 2
    """Rows of data per two rows of the image: 3 if a colour plane of half the height follows."""


def _cv(code: int) -> Callable[[Pixels], BgrImage]:
    return lambda pixels: cv2.cvtColor(pixels, code).astype(np.uint8, copy=False)


def _grey(to_8_bits: Callable[[Pixels], BgrImage]) -> Callable[[Pixels], BgrImage]:
    return lambda pixels: cv2.cvtColor(to_8_bits(pixels), cv2.COLOR_GRAY2BGR).astype(np.uint8)


def _bayer(code: int, dtype: str) -> _Encoding:
    if dtype == "u1":
        return _Encoding(dtype, 1, _cv(code))
    return _Encoding(dtype, 1, lambda pixels: _cv(code)(scale_16_to_8(pixels)))


def _as_is(pixels: Pixels) -> BgrImage:
    return np.ascontiguousarray(pixels).astype(np.uint8, copy=False)


ENCODINGS: dict[str, _Encoding] = {
    "rgb8": _Encoding("u1", 3, _cv(cv2.COLOR_RGB2BGR)),
    "bgr8": _Encoding("u1", 3, _as_is),
    "8UC3": _Encoding("u1", 3, _as_is),
    "rgba8": _Encoding("u1", 4, _cv(cv2.COLOR_RGBA2BGR)),
    "bgra8": _Encoding("u1", 4, _cv(cv2.COLOR_BGRA2BGR)),
    "8UC4": _Encoding("u1", 4, _cv(cv2.COLOR_BGRA2BGR)),
    "mono8": _Encoding("u1", 1, _cv(cv2.COLOR_GRAY2BGR)),
    "8UC1": _Encoding("u1", 1, _cv(cv2.COLOR_GRAY2BGR)),
    "mono16": _Encoding("u2", 1, _grey(scale_16_to_8)),
    "16UC1": _Encoding("u2", 1, _grey(normalize)),
    "32FC1": _Encoding("f4", 1, _grey(normalize)),
    # OpenCV names a Bayer pattern by its second row, sensor_msgs by its first.
    "bayer_rggb8": _bayer(cv2.COLOR_BayerBG2BGR, "u1"),
    "bayer_bggr8": _bayer(cv2.COLOR_BayerRG2BGR, "u1"),
    "bayer_gbrg8": _bayer(cv2.COLOR_BayerGR2BGR, "u1"),
    "bayer_grbg8": _bayer(cv2.COLOR_BayerGB2BGR, "u1"),
    "bayer_rggb16": _bayer(cv2.COLOR_BayerBG2BGR, "u2"),
    "bayer_bggr16": _bayer(cv2.COLOR_BayerRG2BGR, "u2"),
    "bayer_gbrg16": _bayer(cv2.COLOR_BayerGR2BGR, "u2"),
    "bayer_grbg16": _bayer(cv2.COLOR_BayerGB2BGR, "u2"),
    "yuv422": _Encoding("u1", 2, _cv(cv2.COLOR_YUV2BGR_UYVY)),
    "uyvy": _Encoding("u1", 2, _cv(cv2.COLOR_YUV2BGR_UYVY)),
    "yuv422_yuy2": _Encoding("u1", 2, _cv(cv2.COLOR_YUV2BGR_YUY2)),
    "yuyv": _Encoding("u1", 2, _cv(cv2.COLOR_YUV2BGR_YUY2)),
    "nv21": _Encoding("u1", 1, _cv(cv2.COLOR_YUV2BGR_NV21), half_rows=3),
    "nv12": _Encoding("u1", 1, _cv(cv2.COLOR_YUV2BGR_NV12), half_rows=3),
}


def to_bgr(
    data: Bytes, *, width: int, height: int, encoding: str, step: int, is_bigendian: bool
) -> BgrImage:
    """Convert the fields of a ``sensor_msgs/Image`` to an HxWx3 uint8 BGR image.

    Rows may be padded (``step``). Depth (16UC1, 32FC1) is stretched to its own range. A bgr8 image
    without padding shares the message's memory. Raises EncodingError.
    """
    layout = ENCODINGS.get(encoding)
    if layout is None:
        raise EncodingError(
            f"encoding {encoding!r} is not supported; supported are {', '.join(ENCODINGS)}"
        )
    if width < 1 or height < 1:
        raise EncodingError(f"the image is {width}x{height} pixels")
    dtype = np.dtype(layout.dtype).newbyteorder(">" if is_bigendian else "<")
    row_bytes = width * layout.channels * dtype.itemsize
    if step < row_bytes:
        raise EncodingError(
            f"step is {step} bytes, but {width} pixels of {encoding} need {row_bytes}"
        )
    subsampled_rows = layout.half_rows == 3
    odd_width = width % 2 and (layout.channels == 2 or subsampled_rows)
    if odd_width or (height % 2 and subsampled_rows):
        raise EncodingError(f"{encoding} needs even sizes, the image is {width}x{height} pixels")
    rows = height * layout.half_rows // 2
    raw = np.frombuffer(data, np.uint8)
    if raw.size < step * rows:
        raise EncodingError(
            f"data has {raw.size} bytes, but {width}x{height} {encoding} with step {step} "
            f"needs {step * rows}"
        )
    lines = raw[: step * rows].reshape(rows, step)[:, :row_bytes]
    pixels = np.ascontiguousarray(lines).view(dtype)
    if layout.channels > 1:
        pixels = pixels.reshape(rows, width, layout.channels)
    return layout.convert(pixels.astype(dtype.newbyteorder("="), copy=False))


def message_to_bgr(message: Any) -> BgrImage:
    """Convert a ``sensor_msgs`` Image or CompressedImage of any library to HxWx3 uint8 BGR.

    Raises EncodingError.
    """
    if hasattr(message, "format"):
        return compressed_to_bgr(message.data, message.format)
    return to_bgr(
        message.data,
        width=message.width,
        height=message.height,
        encoding=message.encoding,
        step=message.step,
        is_bigendian=bool(message.is_bigendian),
    )


def compressed_to_bgr(data: Bytes, format_: str) -> BgrImage:
    """Convert the fields of a ``sensor_msgs/CompressedImage`` (JPEG or PNG) to HxWx3 uint8 BGR.

    EXIF orientation is ignored, because the pixel frame is that of the sensor, as in camera_info.
    Raises EncodingError.
    """
    if "compressedDepth" in format_:
        raise EncodingError(
            f"format {format_!r} is not supported; subscribe to the raw depth image"
        )
    raw = np.frombuffer(data, np.uint8)
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR | cv2.IMREAD_IGNORE_ORIENTATION
    try:
        decoded = cv2.imdecode(raw, flags) if raw.size else None
    except cv2.error:  # The header claims more pixels than OpenCV accepts.
        decoded = None
    if decoded is None:
        raise EncodingError(
            f"{raw.size} bytes of format {format_!r} cannot be decoded; expected jpeg or png"
        )
    if decoded.dtype == np.uint8:
        return decoded.astype(np.uint8, copy=False)
    if format_.startswith("16UC1"):
        return _grey(normalize)(decoded[..., 0])
    return scale_16_to_8(decoded)


def to_jpeg(image: BgrImage, quality: int) -> tuple[bytes, str]:
    """Encode an HxWx3 uint8 BGR image as data and format of a ``sensor_msgs/CompressedImage``.

    The format string is that of image_transport. Raises ValueError if the image cannot be encoded.
    """
    encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return jpeg.tobytes(), "bgr8; jpeg compressed bgr8"
