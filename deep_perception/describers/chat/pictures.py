"""What a vision model is shown of a region: a crop with margin, the region outlined.

Transparency is of no use here: llama.cpp and mlx-engine drop the alpha channel, and the model sees
the whole background. So the surroundings are toned down in the pixels themselves.
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

# Models of this kind see 336 to 1024 pixels; more is only more tokens.
LONG_EDGE = 768
# Of a region of a few pixels, enlarged no further than this, an encoder still makes something.
SHORTEST_LONG_EDGE = 224
JPEG_QUALITY = 90
# Magenta between white: no surface of everyday things has it, and it shows on dark and on light.
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
    """The picture of one region, from the full-resolution HxWx3 BGR source image."""
    window = _window(region.box, Box(0, 0, *masks.size_of(image)))
    crop = image[window.y1 : window.y2, window.x1 : window.x2]
    mask = region.source_mask(window).astype(np.uint8)
    long_edge = max(window.width, window.height)
    scale = min(LONG_EDGE / long_edge, max(1.0, SHORTEST_LONG_EDGE / long_edge))
    if scale != 1:
        # First to the final size, then the effects: they cost the same for every camera.
        size = (max(1, round(window.width * scale)), max(1, round(window.height * scale)))
        crop = cv2.resize(
            crop, size, interpolation=cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
        ).astype(np.uint8)
        mask = cv2.resize(mask, size, interpolation=cv2.INTER_LINEAR_EXACT if scale > 1 else
                          cv2.INTER_NEAREST).astype(np.uint8)  # fmt: skip
    inside = mask.astype(np.bool_)
    picture = np.where(inside[..., None], crop, _surroundings(crop, mode)).astype(np.uint8)
    if not inside.all():
        _outline(picture, inside)
    return picture


class Overview:
    """A source image, made small: where a region is, and what is around it."""

    def __init__(self, image: BgrImage) -> None:
        """``image``: HxWx3 BGR."""
        long_edge = max(image.shape[:2])
        scale = min(1.0, LONG_EDGE / long_edge)
        width, height = (max(1, round(side * scale)) for side in masks.size_of(image))
        self._small = cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA)

    def of(self, region: Region) -> BgrImage:
        """The image with one region outlined."""
        picture = self._small.astype(np.uint8)
        size = masks.size_of(picture)
        mask = cv2.resize(region.mask.astype(np.uint8), size, interpolation=cv2.INTER_NEAREST_EXACT)
        if mask.any() and not mask.all():
            _outline(picture, mask.astype(np.bool_))
        return picture


def to_data_url(picture: BgrImage) -> str:
    """JPEG as a ``data:`` URL: servers refuse WebP, and no address of ours is to be fetched."""
    done, data = cv2.imencode(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])
    if not done:
        raise ValueError(f"no JPEG can be made of {picture.shape}")
    return "data:image/jpeg;base64," + base64.b64encode(data.tobytes()).decode()


def _window(box: Box, bounds: Box) -> Box:
    """The box with a margin: half its long side when it is small, a quarter when it is large."""
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


def _outline(picture: BgrImage, inside: Mask) -> None:
    """Drawn outside of the region: its own pixels are what is to be described."""
    thickness = 1 if max(picture.shape[:2]) < 400 else 2
    # A border of nothing: a region that touches the edge of the picture is not closed there.
    outside = cv2.distanceTransform((~inside).astype(np.uint8), cv2.DIST_L2, 3)
    picture[(outside > 0) & (outside <= 2 * thickness + 1.5)] = HALO
    picture[(outside > 0) & (outside <= thickness + 0.5)] = OUTLINE
