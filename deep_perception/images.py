"""Image files and image sizes. All images in the package are HxWx3 uint8 BGR."""

from __future__ import annotations

import warnings
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

BgrImage = NDArray[np.uint8]

# 400 megapixels take 1.2 GB: more than any camera or stitched panorama has, and less than what
# exhausts the memory of a robot's computer.
MAX_PIXELS = 400_000_000
MAX_12_BITS = 4095


class ImageError(ValueError):
    """A file is not an image that can be analysed; the message is one line with the reason."""


def load(path: Path) -> BgrImage:
    """Decode an image file as a viewer shows it: HxWx3 uint8 BGR.

    EXIF orientation is applied, CMYK and palettes are converted, transparency is composited over
    white, 16 bits per channel are scaled to 8 (grey images of at most 12 bits are stretched), and
    the first frame of an animation is used.
    Raises ImageError.
    """
    try:
        size = path.stat().st_size
    except OSError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
    if path.is_dir():
        raise ImageError(f"{path}: is a folder, expected an image file")
    if size == 0:
        raise ImageError(f"{path}: is empty (0 bytes)")
    try:
        # Pillow warns about broken metadata and large images, which does not matter if the image
        # can be decoded.
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return _decode(path)
    except ImageError:
        raise
    except PermissionError as error:
        raise ImageError(f"{path}: cannot be read ({error.strerror})") from None
    except Image.DecompressionBombError:
        raise _too_large(path, "") from None
    except MemoryError:
        raise ImageError(f"{path}: does not fit into memory") from None
    except Exception as error:  # Decoders raise errors of any class for broken files.
        raise ImageError(f"{path}: broken image ({' '.join(str(error).split())})") from None


def _decode(path: Path) -> BgrImage:
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        with Image.open(path) as opened:
            if opened.width * opened.height > MAX_PIXELS:
                raise _too_large(path, f"{opened.width}x{opened.height} pixels, ")
            return _to_bgr(path, opened)
    except UnidentifiedImageError:
        return _decode_with_opencv(path)
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _to_bgr(path: Path, opened: Image.Image) -> BgrImage:
    image = opened
    # Copies and needless conversions are avoided, because an image may take a gigabyte.
    ImageOps.exif_transpose(image, in_place=True)
    if image.mode.startswith(("I", "F")):
        return cv2.cvtColor(_to_8_bits(np.asarray(image)), cv2.COLOR_GRAY2BGR).astype(np.uint8)
    if "A" in image.mode or "transparency" in image.info:
        image = image.convert("RGBA")
        white = Image.new("RGBA", image.size, "white")
        image = Image.alpha_composite(white, image)
    rgb = np.asarray(image if image.mode == "RGB" else image.convert("RGB"))
    if rgb.size == 0:
        raise ImageError(f"{path}: has no pixels")
    return cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR).astype(np.uint8, copy=False)


def _decode_with_opencv(path: Path) -> BgrImage:
    # OpenCV reads formats that Pillow does not, such as 16-bit colour TIFF.
    decoded = cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR)
    if decoded is None or decoded.size == 0:
        raise ImageError(f"{path}: not an image, or of an unknown format")
    if decoded.shape[0] * decoded.shape[1] > MAX_PIXELS:
        raise _too_large(path, f"{decoded.shape[1]}x{decoded.shape[0]} pixels, ")
    return decoded.astype(np.uint8, copy=False)


def _to_8_bits(values: NDArray[np.generic]) -> BgrImage:
    # Depth, thermal and 12-bit cameras use a small part of the 16 bits and would be nearly black.
    other_range = values.max() <= MAX_12_BITS or values.max() > np.iinfo(np.uint16).max
    if np.issubdtype(values.dtype, np.floating) or other_range:
        return normalize(values)
    return scale_16_to_8(values)


def scale_16_to_8(values: NDArray[np.generic]) -> BgrImage:
    """Scale 0..65535 to 0..255, as viewers show 16-bit images."""
    return (values.astype(np.uint32) // 257).astype(np.uint8)


def normalize(values: NDArray[np.generic]) -> BgrImage:
    """Stretch the finite, non-zero values of an HxW array to 1..255, and set the others to 0.

    A depth image has no fixed range, and 0, NaN and infinity mean "no measurement" (REP-118).
    """
    depth = values.astype(np.float32)
    valid = np.isfinite(depth) & (depth != 0)
    if not valid.any():
        return np.zeros(depth.shape, np.uint8)
    low, high = float(depth[valid].min()), float(depth[valid].max())
    scale = 254.0 / (high - low) if high > low else 0.0
    stretched = np.rint(1.0 + (np.where(valid, depth, low) - low) * scale)
    return np.where(valid, stretched, 0).astype(np.uint8)


def fitted_size(width: int, height: int, max_width: int, max_height: int) -> tuple[int, int]:
    """Width and height reduced to fit, with the aspect kept, not enlarged, at least 1x1 pixel."""
    scale = min(max_width / width, max_height / height, 1.0)
    return (
        min(max_width, max(1, round(width * scale))),
        min(max_height, max(1, round(height * scale))),
    )


def shrink(image: BgrImage, max_width: int, max_height: int) -> BgrImage:
    """The image itself if it fits, else a copy that is reduced with an area filter."""
    height, width = image.shape[:2]
    size = fitted_size(width, height, max_width, max_height)
    if size == (width, height):
        return image
    return cv2.resize(image, size, interpolation=cv2.INTER_AREA).astype(np.uint8, copy=False)


def save_png(path: Path, image: BgrImage) -> None:
    """Write a PNG file and create its folder. Raises OSError if that fails."""
    path.parent.mkdir(parents=True, exist_ok=True)
    encoded, data = cv2.imencode(".png", image)
    if not encoded:
        raise OSError(f"{path}: the image cannot be encoded as PNG")
    path.write_bytes(data.tobytes())


def _too_large(path: Path, detail: str) -> ImageError:
    return ImageError(f"{path}: too large ({detail}at most {MAX_PIXELS // 10**6} megapixels)")
