"""Text labels on images: rendered with Pillow's own font and placed so that none overlap."""

from __future__ import annotations

import functools
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from deep_perception.images import BgrImage
from deep_perception.masks import Box, Size

Color = tuple[int, int, int]
DARK_INK: Color = (20, 20, 20)
LIGHT_INK: Color = (250, 250, 250)


@functools.lru_cache(maxsize=256)
def render(text: str, height: int) -> BgrImage:
    """The coverage (HxW, 0..255) of a text with padding around it, ``height`` pixels high."""
    font = ImageFont.load_default(size=max(6, round(height * 0.72)))
    left, _, right, _ = font.getbbox(text)
    padding = max(2, height // 5)
    tile = Image.new("L", (int(right - left) + 2 * padding, height), 0)
    ImageDraw.Draw(tile).text((padding - left, height / 2), text, fill=255, font=font, anchor="lm")
    return np.asarray(tile, np.uint8)


def paint(image: BgrImage, box: Box, coverage: BgrImage, color: Color) -> None:
    """Draw a rendered text on a plain background of ``color`` into a box of the image."""
    background = np.array(color, np.float32)
    # The weights are those of Rec. 601 luma, in BGR order.
    luma = float(background @ np.array([0.114, 0.587, 0.299], np.float32))
    ink = np.array(DARK_INK if luma > 110 else LIGHT_INK, np.float32)
    tile = background + coverage[..., None] / 255.0 * (ink - background)
    image[box.y1 : box.y2, box.x1 : box.x2] = np.rint(tile).astype(np.uint8)


def place(
    anchor: tuple[int, int], label: Size, canvas: Size, placed: Sequence[Box], gap: int = 6
) -> Box | None:
    """The box of a label: beside its anchor if there is room, else at the nearest free position.

    The box lies inside the canvas and overlaps none of ``placed``. None if there is no room.
    """
    if label.width > canvas.width or label.height > canvas.height:
        return None
    x, y = anchor
    middle_x, middle_y = x - label.width // 2, y - label.height // 2
    beside = np.array(
        [
            (x + gap, middle_y),
            (x - gap - label.width, middle_y),
            (middle_x, y - gap - label.height),
            (middle_x, y + gap),
        ]
    )
    # Most labels fit beside their point, so the whole lattice is searched for the others only.
    found = _first_free(beside, label, canvas, placed)
    return found or _first_free(_lattice(anchor, label, canvas), label, canvas, placed)


def _lattice(anchor: tuple[int, int], label: Size, canvas: Size) -> NDArray[np.int64]:
    step = max(1, label.height // 2)
    xs = np.arange(0, canvas.width - label.width + 1, step)
    ys = np.arange(0, canvas.height - label.height + 1, step)
    corners = np.stack(np.meshgrid(xs, ys), axis=-1).reshape(-1, 2)
    centres = corners + np.array([label.width / 2, label.height / 2])
    return corners[np.argsort(np.abs(centres - anchor).sum(axis=1), kind="stable")]


def _first_free(
    corners: NDArray[np.int64], label: Size, canvas: Size, placed: Sequence[Box]
) -> Box | None:
    x1, y1 = corners[:, 0], corners[:, 1]
    x2, y2 = x1 + label.width, y1 + label.height
    free = (x1 >= 0) & (y1 >= 0) & (x2 <= canvas.width) & (y2 <= canvas.height)
    for other in placed:
        free &= (x2 <= other.x1) | (x1 >= other.x2) | (y2 <= other.y1) | (y1 >= other.y2)
    if not free.any():
        return None
    first = int(free.argmax())
    return Box(int(x1[first]), int(y1[first]), int(x2[first]), int(y2[first]))
