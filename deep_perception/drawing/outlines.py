"""The colours and outlines of regions."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Mapping, Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.drawing.text import Color
from deep_perception.images import BgrImage
from deep_perception.masks import Cut, Size
from deep_perception.regions import Region

# Where regions are tinted, small ones stand out while a large background keeps more of its colour:
# the opacity falls to this share of itself at an area of LARGE_SHARE of the image.
LARGE_OPACITY, LARGE_SHARE = 0.32, 0.25
# A dark line on both sides of the coloured one makes it visible on any background.
CASING: Color = (20, 20, 20)
# An outline is drawn around a region that is less than this number of outlines wide, not over it.
SMALL_THICKNESSES = 24
# Fractional bits of the coordinates that are given to OpenCV's drawing functions.
SHIFT = 4
# The outer outline of a region and those of its holes, in 1/2**SHIFT px of the canvas.
Outlines = list[NDArray[np.int32]]


def color_of(region: Region) -> Color:
    """The BGR colour of a region: by its track id if it has one, else by its index."""
    track_id = region.track_id.encode()
    return region_color(zlib.crc32(track_id) % 1000 if track_id else region.index)


def region_color(index: int) -> Color:
    """A vivid BGR colour, different from those of near indices: hues step by the golden ratio."""
    hue = (index * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62 + 0.3 * (index % 2), 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def tint(
    image: BgrImage,
    ordered: Sequence[Region],
    outlines: Mapping[int, Outlines],
    most: float,
) -> BgrImage:
    """Return a copy of an image with the regions' colours, in the order given, laid over it.

    ``most`` is the opacity of the smallest regions, from 0 to 1.
    """
    layer = np.zeros(image.shape[:2], np.uint16)
    for region in ordered:
        # All outlines are passed in one call, so that the even-odd rule leaves holes open.
        cv2.fillPoly(layer, outlines[region.index], region.index, shift=SHIFT)
    count = max((region.index for region in ordered), default=0) + 1
    colors, opacity = np.zeros((count, 3), np.uint8), np.zeros(count, np.float32)
    for region in ordered:
        share = region.area / (region.rle.size.width * region.rle.size.height)
        colors[region.index] = color_of(region)
        opacity[region.index] = np.interp(share, [0, LARGE_SHARE], [most, LARGE_OPACITY * most])
    blended = cv2.blendLinear(image, colors[layer], 1 - opacity[layer], opacity[layer])
    return blended.astype(np.uint8, copy=False)


def draw_outline(
    drawn: BgrImage,
    base: BgrImage,
    outlines: Outlines,
    color: Color,
    thickness: int,
) -> None:
    """Draw the outline of one region; the inside of a small one stays as it is in ``base``."""
    for ink, width in ((CASING, thickness + 2 * max(1, thickness // 3)), (color, thickness)):
        cv2.polylines(drawn, outlines, True, ink, width, cv2.LINE_AA, shift=SHIFT)
    corners = np.concatenate(outlines).reshape(-1, 2) / 2**SHIFT
    low = np.maximum(np.floor(corners.min(axis=0)).astype(int), 0)
    high = np.ceil(corners.max(axis=0)).astype(int) + 1
    if min(high - low) < SMALL_THICKNESSES * thickness:
        part = np.s_[low[1] : high[1], low[0] : high[0]]
        inside = np.zeros(drawn[part].shape[:2], np.uint8)
        shifted = [outline - (low * 2**SHIFT).astype(np.int32) for outline in outlines]
        cv2.fillPoly(inside, shifted, 1, shift=SHIFT)
        np.copyto(drawn[part], base[part], where=inside[..., None].astype(bool))


def find_outlines(cut: Cut, canvas: Size) -> Outlines:
    """Return the outlines of a mask, scaled to a canvas."""
    inside, box, size = cut
    found, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(box.x1, box.y1)
    )
    return [scaled_outline(np.asarray(outline), size, canvas) for outline in found]


def scaled_outline(outline: NDArray[np.int32], size: Size, canvas: Size) -> NDArray[np.int32]:
    """Return an outline (px of an image of ``size``) in 1/2**SHIFT px of the canvas."""
    scale = np.array([canvas.width / size.width, canvas.height / size.height])
    return np.rint(((outline + 0.5) * scale - 0.5) * 2**SHIFT).astype(np.int32)
