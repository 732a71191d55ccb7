"""Image files, pipes and standard input as 8-bit BGR pixels, as a viewer shows them."""

from __future__ import annotations

import io
import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from deep_perception.images import intensity, jpeg, png, tiff
from deep_perception.images.intensity import Deep, IntensityRange
from deep_perception.images.pixels import MAX_PIXELS, BgrImage, ImageError, check_size

STANDARD_INPUT = Path("-")
# The pixels of the largest image; a pipe need not end.
MAX_BYTES = 3 * MAX_PIXELS
ORIENTATION_TAG = 0x0112
# How an image of each EXIF orientation is turned upright: flipped left-right, quarter turns left.
_UPRIGHT = {
    1: (False, 0), 2: (True, 0), 3: (False, 2), 4: (True, 2),
    5: (True, 1), 6: (False, 3), 7: (True, 3), 8: (False, 1),
}  # fmt: skip
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
    try:
        data = _bytes_of(path)
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror}){_hint(path)}") from None
    if not data:
        raise ImageError(f"{path}: is empty (0 bytes)")
    try:
        # Pillow warns about broken metadata and large images, which does not matter if the image
        # can be decoded.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return decode(data)
    except ImageError as error:
        raise ImageError(f"{path}: {error}") from None
    except Image.DecompressionBombError as error:
        raise ImageError(f"{path}: too large ({error})") from None
    except MemoryError:
        raise ImageError(f"{path}: does not fit into memory") from None
    except Exception as error:  # Decoders raise errors of any class for broken files.
        raise ImageError(f"{path}: broken image ({' '.join(str(error).split())})") from None


def decode(data: bytes) -> LoadedImage:
    """Decode the bytes of an image file. Raises ImageError, and anything that decoders raise."""
    if data.startswith(jpeg.SIGNATURE):
        data = jpeg.complete(data)
    elif data.startswith(png.SIGNATURE):
        data = png.complete(data)
    elif data.startswith(tiff.SIGNATURES) and (found := tiff.read_deep(data)):
        return _shown(*found)
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(io.BytesIO(data)) as opened:
            check_size(opened.width, opened.height)
            return _from_pillow(data, opened)
    except UnidentifiedImageError:
        return _from_opencv(data)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


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
        raise ImageError(f"{path}: is a folder, expected an image file")
    elif path.is_file():
        return path.read_bytes()
    else:
        with path.open("rb") as pipe:
            data = pipe.read(MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise ImageError(f"{path}: more than {MAX_BYTES // 10**6} MB, which is no image")
    return data


def _from_pillow(data: bytes, opened: Image.Image) -> LoadedImage:
    orientation = _orientation(opened)
    if opened.format == "PNG" and png.bit_depth(data) == 16:
        # Pillow keeps the upper 8 bits of colours and of images with transparency.
        return _shown(_unchanged(data), orientation)
    image = opened
    if image.mode.startswith(("I", "F")):
        return _shown(np.asarray(image), orientation)
    if opened.format in ("JPEG", "MPO"):
        width, height = image.size
        last = image.crop((max(0, width - 2), max(0, height - 2), width, height))
        jpeg.check_tail(data, np.asarray(last.convert("RGB")))
    # Copies and needless conversions are avoided, because an image may take a gigabyte.
    ImageOps.exif_transpose(image, in_place=True)
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if rgb.size == 0:
        raise ImageError("has no pixels")
    pixels = cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)
    return LoadedImage(pixels, exif_orientation=orientation)


def _orientation(opened: Image.Image) -> int:
    try:
        orientation = opened.getexif().get(ORIENTATION_TAG, 1)
    except Exception:  # broken metadata do not matter if the image can be decoded
        return 1
    return orientation if orientation in _UPRIGHT else 1


def _unchanged(data: bytes) -> NDArray[Any]:
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_UNCHANGED)
    if decoded is None or decoded.size == 0:
        raise ImageError("broken image")
    return decoded


def _from_opencv(data: bytes) -> LoadedImage:
    # OpenCV reads formats that Pillow does not, such as Radiance HDR.
    for start, marks, what in _OTHERS:
        if data[start : start + 32].startswith(marks):
            raise ImageError(f"is {what}")
    flags = cv2.IMREAD_ANYDEPTH | cv2.IMREAD_COLOR
    decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    if decoded is None or decoded.size == 0:
        raise ImageError("not an image, or of an unknown format")
    check_size(decoded.shape[1], decoded.shape[0])
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
    return LoadedImage(_upright(pixels, orientation), shown, orientation)


def _over_white(pixels: BgrImage, alpha: NDArray[Any]) -> BgrImage:
    most = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1.0
    share = np.clip(alpha.astype(np.float32) / most, 0.0, 1.0)
    if share.min() == 1.0:
        return pixels
    over: BgrImage = np.rint(255 - (255 - pixels) * share).astype(np.uint8)
    return over


def _upright(pixels: BgrImage, orientation: int) -> BgrImage:
    is_mirrored, turns = _UPRIGHT[orientation]
    if is_mirrored:
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(np.rot90(pixels, turns))
