"""Conversion of camera messages to images and back: the encodings of ``sensor_msgs``, without ROS.

cv_bridge is not used: it has no wheel, its apt build is incompatible with numpy 2, and the caller
would still have to handle depth, compressed formats and their errors.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TypeAlias

import cv2
import numpy as np

from deep_perception.encodings.compressed import decode_compressed
from deep_perception.encodings.errors import EncodingError
from deep_perception.encodings.layouts import ENCODINGS, Decoded, canonical_name
from deep_perception.images import intensity
from deep_perception.images.intensity import Deep, IntensityRange, RangeState
from deep_perception.images.pixels import (
    MAX_MESSAGE_PIXELS,
    BgrImage,
    ImageError,
    check_size,
)
from deep_perception.untrusted.text import printable

__all__ = [
    "ENCODINGS",
    "EncodingError",
    "FrameDecoder",
    "compressed_to_bgr",
    "message_to_bgr",
    "to_bgr",
    "to_jpeg",
]

Bytes: TypeAlias = "bytes | bytearray | memoryview | array[int]"


class FrameDecoder:
    """Decodes the images of one camera; those of more than 8 bits by a range that hardly changes.

    The same messages in the same order give the same images.
    """

    def __init__(self) -> None:
        self._state = RangeState()
        self.intensity_range: IntensityRange | None = None

    def decode(self, message: Any) -> BgrImage:
        """Return the next frame as HxWx3 uint8 BGR, and set ``intensity_range`` to its own.

        ``message`` is a ``sensor_msgs`` Image or CompressedImage of any library. Raises
        EncodingError.
        """
        decoded = _decode(message)
        if not isinstance(decoded, Deep):
            self.intensity_range = None
            return decoded
        self._state = self._state.after(decoded)
        self.intensity_range = self._state.range
        return _shown(decoded, self._state.range)

    def preview(self, message: Any) -> BgrImage:
        """Return what ``decode`` would return, and change nothing."""
        decoded = _decode(message)
        if not isinstance(decoded, Deep):
            return decoded
        return _shown(decoded, self._state.after(decoded).range)


def message_to_bgr(message: Any, shown: IntensityRange | None = None) -> BgrImage:
    """Convert a ``sensor_msgs`` Image or CompressedImage of any library to HxWx3 uint8 BGR.

    ``shown`` is the range of an image of more than 8 bits, by default its own. Raises
    EncodingError.
    """
    return _to_8_bits(_decode(message), shown)


def to_bgr(
    data: Bytes, *, width: int, height: int, encoding: str, step: int, is_bigendian: bool
) -> BgrImage:
    """Convert the fields of a ``sensor_msgs/Image`` to an HxWx3 uint8 BGR image.

    Rows may be padded (``step``). More than 8 bits are mapped to 8 (``images.intensity``). A bgr8
    image without padding shares the message's memory. Raises EncodingError.
    """
    with _decoding():
        decoded = _raw(
            data,
            width=width,
            height=height,
            encoding=encoding,
            step=step,
            is_bigendian=is_bigendian,
        )
    return _to_8_bits(decoded)


def compressed_to_bgr(data: Bytes, format_: str) -> BgrImage:
    """Convert the fields of a ``sensor_msgs/CompressedImage`` to HxWx3 uint8 BGR.

    EXIF orientation is ignored, because the pixel frame is that of the sensor, as in camera_info.
    Raises EncodingError.
    """
    with _decoding():
        decoded = decode_compressed(bytes(data), format_)
    return _to_8_bits(decoded)


def to_jpeg(image: BgrImage, quality: int) -> tuple[bytes, str]:
    """Encode an HxWx3 uint8 BGR image as data and format of a ``sensor_msgs/CompressedImage``.

    The format string is that of image_transport. Raises ValueError if the image cannot be encoded.
    """
    encoded, jpeg = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, quality])
    if not encoded:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return jpeg.tobytes(), "bgr8; jpeg compressed bgr8"


@contextmanager
def _decoding() -> Iterator[None]:
    """Turn what decoders raise into EncodingError, which costs this image only."""
    try:
        yield
    except (cv2.error, MemoryError) as error:
        raise EncodingError(f"the image cannot be decoded ({printable(error)})") from None


def _decode(message: Any) -> Decoded:
    with _decoding():
        if hasattr(message, "format"):
            return decode_compressed(bytes(message.data), message.format)
        return _raw(
            message.data,
            width=message.width,
            height=message.height,
            encoding=message.encoding,
            step=message.step,
            is_bigendian=bool(message.is_bigendian),
        )


def _raw(
    data: Bytes, *, width: int, height: int, encoding: str, step: int, is_bigendian: bool
) -> Decoded:
    shown = printable(encoding)
    layout = ENCODINGS.get(canonical_name(encoding))
    if layout is None:
        raise EncodingError(
            f"encoding '{shown}' is not supported; supported are {', '.join(ENCODINGS)}"
        )
    if width < 1 or height < 1:
        raise EncodingError(f"the image is {width}x{height} pixels")
    dtype = np.dtype(layout.dtype).newbyteorder(">" if is_bigendian else "<")
    pixel_bytes = layout.channels * dtype.itemsize
    try:
        check_size(width, height, pixel_bytes=pixel_bytes, max_pixels=MAX_MESSAGE_PIXELS)
    except ImageError as error:
        raise EncodingError(f"the image of encoding '{shown}' is {error}") from None
    row_bytes = width * pixel_bytes
    if step < row_bytes:
        raise EncodingError(f"step is {step} bytes, but {width} pixels of {shown} need {row_bytes}")
    subsampled_rows = layout.half_rows == 3
    odd_width = width % 2 and (layout.channels == 2 or subsampled_rows)
    if odd_width or (height % 2 and subsampled_rows):
        raise EncodingError(f"{shown} needs even sizes, the image is {width}x{height} pixels")
    rows = height * layout.half_rows // 2
    raw = np.frombuffer(data, np.uint8)
    if raw.size < step * rows:
        raise EncodingError(
            f"data has {raw.size} bytes, but {width}x{height} {shown} with step {step} "
            f"needs {step * rows}"
        )
    lines = raw[: step * rows].reshape(rows, step)[:, :row_bytes]
    pixels = np.ascontiguousarray(lines).view(dtype)
    if layout.channels > 1:
        pixels = pixels.reshape(rows, width, layout.channels)
    return layout.convert(pixels.astype(dtype.newbyteorder("="), copy=False))


def _to_8_bits(decoded: Decoded, shown: IntensityRange | None = None) -> BgrImage:
    if not isinstance(decoded, Deep):
        return decoded
    return _shown(decoded, shown or intensity.find_range(decoded))


def _shown(deep: Deep, shown: IntensityRange | None) -> BgrImage:
    pixels = intensity.to_8_bits(deep, shown)
    if pixels.ndim == 3:
        return pixels
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
