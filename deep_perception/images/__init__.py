"""Image files and image sizes. All images in the package are HxWx3 uint8 BGR."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deep_perception.images.files import LoadedImage, load, read
from deep_perception.images.intensity import IntensityRange
from deep_perception.images.pixels import MAX_PIXELS, BgrImage, ImageError
from deep_perception.untrusted.places import make_way

__all__ = [
    "MAX_PIXELS",
    "BgrImage",
    "ImageError",
    "IntensityRange",
    "LoadedImage",
    "fitted_size",
    "load",
    "read",
    "save_png",
    "shrink",
]


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
    make_way(path)
    path.write_bytes(data.tobytes())
