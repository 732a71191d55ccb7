"""The images of a region for a vision model: a crop with a margin and an outline of the region.

The background is toned down in the pixels and not by an alpha channel, because llama.cpp and
mlx-engine drop the alpha channel, so that the model would see the whole background.
"""

from __future__ import annotations

import base64
from typing import Literal

import cv2
import numpy as np

from deep_perception import masks
from deep_perception.images import BgrImage
from deep_perception.masks import Box, Mask
from deep_perception.regions import Region

Mode = Literal["blur", "dim", "gray", "outline", "cutout"]

# Vision models use 336 to 1024 pixels; a larger image only costs more tokens.
LONG_EDGE = 768
# Smaller crops are enlarged to this size, at which image encoders still work for a few pixels.
SHORTEST_LONG_EDGE = 224
JPEG_QUALITY = 90
# Magenta within white: it is rare on everyday objects, and visible on dark and on light ones.
OUTLINE, HALO = (255, 0, 255), (255, 255, 255)
FILL = 128
SURROUNDINGS: dict[Mode, str] = {
    "blur": "; everything else is blurred",
    "dim": "; everything else is darkened",
    "gray": "; everything else is in shades of gray",
    "outline": "",
    "cutout": "; everything else is filled with plain gray",
}


def compose(image: BgrImage, region: Region, mode: Mode) -> BgrImage:
    """Return the crop of one region from the full-resolution HxWx3 BGR source image."""
    window = _window(region.box, Box(0, 0, *masks.size_of(image)))
    crop = image[window.y1 : window.y2, window.x1 : window.x2]
    mask = region.source_mask(window).astype(np.uint8)
    long_edge = max(window.width, window.height)
    scale = min(LONG_EDGE / long_edge, max(1.0, SHORTEST_LONG_EDGE / long_edge))
    if scale != 1:
        # The effects come after the resizing, so that they cost the same for every camera.
        size = (max(1, round(window.width * scale)), max(1, round(window.height * scale)))
        crop = cv2.resize(
            crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        ).astype(np.uint8)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR_EXACT if scale > 1 else
                          cv2.INTER_NEAREST).astype(np.uint8)  # fmt: skip
    inside = mask.astype(np.bool_)
    composed = np.where(inside[..., None], crop, _surroundings(crop, mode)).astype(np.uint8)
    if not inside.all():
        _draw_outline(composed, inside)
    return composed


class Overview:
    """A small copy of a source image that shows where a region is and what is around it."""

    def __init__(self, image: BgrImage) -> None:
        """``image``: HxWx3 BGR."""
        long_edge = max(image.shape[:2])
        scale = min(1.0, LONG_EDGE / long_edge)
        width, height = (max(1, round(side * scale)) for side in masks.size_of(image))
        self._small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def outline(self, region: Region) -> BgrImage:
        """Return the small image with the outline of one region."""
        image = self._small.astype(np.uint8)
        size = masks.size_of(image)
        mask = cv2.resize(region.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        if mask.any() and not mask.all():
            _draw_outline(image, mask.astype(np.bool_))
        return image


def to_data_url(image: BgrImage) -> str:
    """Return the image as a ``data:`` URL with a JPEG: servers refuse WebP."""
    done, data = cv2.imencode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"an image of shape {image.shape} cannot be encoded as JPEG")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _window(box: Box, bounds: Box) -> Box:
    """Return the box with a margin: half the long side of a small box, a quarter of a large one."""
    share = max(box.width / bounds.width, box.height / bounds.height)
    margin = round(max(box.width, box.height) * (0.5 - 0.25 * min(1.0, share / 0.5)))
    margin = max(margin, 4)
    return Box(
        max(bounds.x1, box.x1 - margin), max(bounds.y1, box.y1 - margin),
        min(bounds.x2, box.x2 + margin), min(bounds.y2, box.y2 + margin),
    )  # fmt: skip


def _surroundings(crop: BgrImage, mode: Mode) -> BgrImage:
    if mode == "outline":
        return crop
    if mode == "cutout":
        return np.full_like(crop, FILL)
    if mode == "gray":
        gray = cv2.cvtColor(crop, cv2.COLOR_BGR2GRAY)
        return cv2.cvtColor(gray, cv2.COLOR_GRAY2BGR).astype(np.uint8)
    if mode == "dim":
        return (crop * 0.35).astype(np.uint8)
    sigma = max(crop.shape[:2]) / 48
    return cv2.GaussianBlur(crop, (0, 0), sigma).astype(np.uint8)


def _draw_outline(image: BgrImage, inside: Mask) -> None:
    """Draw the outline outside of the region, whose own pixels are to be described.

    The outline is not closed where the region touches the edge of the image.
    """
    thickness = 1 if max(image.shape[:2]) < 400 else 2
    outside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    image[(outside > 0) & (outside <= 2 * thickness + 1.5)] = HALO
    image[(outside > 0) & (outside <= thickness + 0.5)] = OUTLINE
