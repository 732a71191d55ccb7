"""Image files, pipes and standard input as 8-bit BGR pixels, as a viewer shows them."""

from __future__ import annotations

import io
import re
import struct
import sys
import warnings
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageFile, JpegImagePlugin, PngImagePlugin, TiffImagePlugin

from deep_perception.images import exif, headers, intensity, jpeg, png, tiff
from deep_perception.images.intensity import Deep, IntensityRange
from deep_perception.images.pixels import (
    MAX_PIXELS,
    PIXEL_BYTES,
    BgrImage,
    ImageError,
    check_size,
)
from deep_perception.untrusted import UntrustedError, bounded
from deep_perception.untrusted.text import LINE, printable

STANDARD_INPUT = Path("-")
# The pixels of the largest image; a pipe need not end.
MAX_BYTES = PIXEL_BYTES * MAX_PIXELS
# What Pillow may decode. It also knows formats that start programs, and many that are forgotten.
_FORMATS = ("JPEG", "PNG", "GIF", "BMP", "PPM", "TIFF", "DIB", "WEBP", "AVIF", "JPEG2000")
# What is no image but is given as one, by bytes at the start of the file.
_OTHERS = (
    (4, (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypheim"), "a HEIC photo; save it as JPEG"),
    (4, (b"ftyp", b"moov", b"mdat"), "a video; save its frames as images"),
    (0, (b"RIFF",), "a video; save its frames as images"),
    (0, (b"\x1a\x45\xdf\xa3",), "a video; save its frames as images"),
    (0, (b"\x89MCAP0", b"#ROSBAG", b"SQLite format 3"), "a recording; use deep_perception replay"),
    (0, (b"<svg",), "an SVG drawing; save it as PNG"),
    (0, (b"%PDF",), "a PDF; save its pages as PNG"),
)


@dataclass(frozen=True, eq=False)
class LoadedImage:
    """The image of a file, and what was done to its pixels.

    ``pixels`` are HxWx3 uint8 BGR. ``intensity_range`` is that of an image of more than 8 bits,
    else None. ``exif_orientation`` is the one that was applied, 1 if nothing had to be turned.
    """

    pixels: BgrImage
    intensity_range: IntensityRange | None = None
    exif_orientation: int = 1


def load(path: Path) -> BgrImage:
    """Decode an image file as a viewer shows it: HxWx3 uint8 BGR.

    EXIF orientation is applied, CMYK and palettes are converted, transparency is composited over
    white, images of more than 8 bits are mapped to 8 (``images.intensity``), and the first frame of
    an animation is used. A pipe is read to its end, and ``-`` is standard input.
    Raises ImageError.
    """
    return read(path).pixels


def read(path: Path) -> LoadedImage:
    """Decode an image file as ``load`` does, and say what was done to its pixels."""
    shown = printable(path, LINE)
    try:
        data = _bytes_of(path)
    except OSError as error:
        raise ImageError(f"{shown}: cannot be read ({error.strerror}){_hint(path)}") from None
    except UntrustedError as error:
        raise ImageError(printable(error, LINE)) from None
    if not data:
        raise ImageError(f"{shown}: is empty (0 bytes)")
    try:
        return decode(data)
    except ImageError as error:
        raise ImageError(f"{shown}: {error}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{shown}: too large ({error})") from None
    except MemoryError:
        raise ImageError(f"{shown}: does not fit into memory") from None
    except Exception as error:  # Decoders raise errors of any class for broken files.
        broken = printable(" ".join(str(error).split()), LINE)
        raise ImageError(f"{shown}: broken image ({broken})") from None


def decode(data: bytes) -> LoadedImage:
    """Decode the bytes of an image file. Raises ImageError, and anything that decoders raise."""
    if data.startswith(jpeg.SIGNATURE):
        return _from_jpeg(jpeg.complete(data))
    if data.startswith(png.SIGNATURE):
        return _from_png(png.complete(data))
    # Pillow warns about broken metadata, which do not matter if the image can be decoded.
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        if data.startswith(tiff.SIGNATURES):
            return _from_tiff(tiff.complete(data))
        return _from_others(data)


def _hint(path: Path) -> str:
    if re.match(r"https?:/", str(path)):
        return "; an image on the web has to be downloaded first"
    if not path.exists() and any(character in path.name for character in "*?["):
        return "; no file matches this pattern"
    return ""


def _bytes_of(path: Path) -> bytes:
    if path == STANDARD_INPUT:
        data = sys.stdin.buffer.read(MAX_BYTES + 1)
    elif path.is_dir():
        raise ImageError(f"{printable(path, LINE)}: is a folder, expected an image file")
    elif path.is_fifo():
        with path.open("rb") as pipe:
            data = pipe.read(MAX_BYTES + 1)
    else:
        return bounded.read_file(path, MAX_BYTES)
    if len(data) > MAX_BYTES:
        raise ImageError(
            f"{printable(path, LINE)}: more than {MAX_BYTES // 10**6} MB, which is no image"
        )
    return data


def _from_jpeg(image: jpeg.Complete) -> LoadedImage:
    with JpegImagePlugin.JpegImageFile(io.BytesIO(image.data)) as opened:
        _check(opened)
        width, height = opened.size
        last = opened.crop((max(0, width - 2), max(0, height - 2), width, height))
        jpeg.check_tail(image, np.asarray(last.convert("RGB")))
        return _from_pillow(opened, exif.orientation(image.exif, image.xmp))


def _from_png(image: png.Complete) -> LoadedImage:
    orientation = exif.orientation(image.exif)
    if image.bit_depth == 16:
        # Pillow keeps the upper 8 bits of colours and of images with transparency.
        return _shown(_unchanged(image.data), orientation)
    with PngImagePlugin.PngImageFile(io.BytesIO(image.data)) as opened:
        _check(opened)
        return _from_pillow(opened, orientation)


def _from_tiff(image: tiff.Complete) -> LoadedImage:
    pixels = tiff.read_deep(image)
    if pixels is not None:
        return _shown(pixels, image.orientation)
    with TiffImagePlugin.TiffImageFile(io.BytesIO(image.data)) as opened:
        _check(opened)
        return _from_pillow(opened, image.orientation)


def _from_others(data: bytes) -> LoadedImage:
    headers.check(data)
    opened = _opened(data)
    if opened is None:
        return _from_opencv(data)
    with opened:
        _check(opened)
        info = opened.info
        return _from_pillow(opened, exif.orientation(info.get("exif"), info.get("xmp")))


def _opened(data: bytes) -> ImageFile.ImageFile | None:
    """Open a file as Pillow does, but with the limit of this package, which no program changes."""
    for name in _FORMATS:
        if name not in Image.OPEN:
            Image.init()
        factory, accepts = Image.OPEN.get(name, (None, None))
        if factory is None or (accepts and accepts(data[:16]) is not True):
            continue
        with suppress(SyntaxError, IndexError, TypeError, struct.error):
            return factory(io.BytesIO(data), "")
    return None


def _check(opened: ImageFile.ImageFile) -> None:
    check_size(*opened.size, pixel_bytes=PIXEL_BYTES)


def _from_pillow(image: Image.Image, orientation: int) -> LoadedImage:
    if image.mode.startswith(("I", "F")):
        return _shown(np.asarray(image), orientation)
    # Copies and needless conversions are avoided, because an image may take a gigabyte.
    if "A" in image.mode or "transparency" in image.info:
        rgba = np.asarray(image.convert("RGBA"))
        opaque = cv2.cvtColor(rgba, cv2.COLOR_RGBA2BGR).astype(np.uint8, copy=False)
        pixels = exif.upright(_over_white(opaque, rgba[..., 3:]), orientation)
        return LoadedImage(pixels, exif_orientation=orientation)
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if rgb.size == 0:
        raise ImageError("has no pixels")
    pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
    return LoadedImage(exif.upright(pixels, orientation), exif_orientation=orientation)


def _unchanged(data: bytes) -> NDArray[Any]:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.size == 0:
        raise ImageError("broken image")
    return decoded


def _from_opencv(data: bytes) -> LoadedImage:
    for start, marks, what in _OTHERS:
        if data[start : start + 32].startswith(marks):
            raise ImageError(f"is {what}")
    decoded = None
    # Pillow does not read the first, and not all versions the others.
    if data.startswith((*headers.RADIANCE, *headers.FLOATS, *headers.JPEG_2000)):
        flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None or decoded.size == 0:
        raise ImageError("not an image, or of an unknown format")
    return _shown(decoded, 1)


def _shown(values: NDArray[Any], orientation: int) -> LoadedImage:
    """Return HxW, HxWx3 or HxWx4 values in BGR order as an upright 8-bit image."""
    if values.size == 0:
        raise ImageError("has no pixels")
    alpha = values[..., 3:] if values.ndim == 3 and values.shape[2] == 4 else None
    values = values[..., :3] if alpha is not None else values
    # Grey with transparency comes as three equal channels.
    if values.ndim == 3 and (values == values[..., :1]).all():
        values = values[..., 0]
    shown = None
    if values.dtype != np.uint8:
        deep = Deep(values, is_light=values.ndim == 3)
        shown = intensity.find_range(deep)
        pixels = intensity.to_8_bits(deep, shown)
    else:
        pixels = values
    if pixels.ndim == 2:
        pixels = cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR).astype(np.uint8, copy=False)
    if alpha is not None:
        pixels = _over_white(pixels, alpha)
    return LoadedImage(exif.upright(pixels, orientation), shown, orientation)


def _over_white(pixels: BgrImage, alpha: NDArray[Any]) -> BgrImage:
    most = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
    over = np.empty_like(pixels)
    # Floats of all pixels at once would take a multiple of the image.
    for rows in intensity.blocks(pixels):
        share = np.clip(alpha[rows].astype(np.float32) / most, 0.0, 1.0)
        over[rows] = np.rint(255 - (255 - pixels[rows]) * share)
    return over
