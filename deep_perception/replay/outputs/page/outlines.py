"""Regions as SVG paths: simplified outlines of a mask, to be filled by the even-odd rule."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.masks import Box, Cut, Size

# The longest side of an image in the units of its paths, which are whole numbers.
SIDE = 1200
# Units. A mask has the size of the working image; this straightens the stairs of its pixels.
TOLERANCE = 1.5
# Square units. Smaller pieces and holes are left out, but never the largest piece.
MIN_PIECE = 12.0


def canvas_of(size: Size) -> Size:
    """Return width and height of an image of this size, in units of its paths."""
    scale = SIDE / max(size)
    return Size(max(1, round(size.width * scale)), max(1, round(size.height * scale)))


def path_of(cut: Cut, canvas: Size) -> str:
    """Return the path of a mask of any size, in units of the canvas.

    A piece that is one pixel wide becomes a line without an area.
    """
    inside, box, size = cut
    found, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(box.x1, box.y1)
    )
    scale = np.array([canvas.width / size.width, canvas.height / size.height])
    outlines = [
        ((np.asarray(outline).reshape(-1, 2) + 0.5) * scale).astype(np.float32) for outline in found
    ]
    areas = [cv2.contourArea(outline) for outline in outlines]
    largest = int(np.argmax(areas))
    return "".join(
        _subpath(outline)
        for number, outline in enumerate(outlines)
        if areas[number] >= MIN_PIECE or number == largest
    )


def path_of_box(box: Box, size: Size, canvas: Size) -> str:
    """Return the path of a box in an image of a size, in units of the canvas."""
    x, y = canvas.width / size.width, canvas.height / size.height
    x1, x2, y1, y2 = round(box.x1 * x), round(box.x2 * x), round(box.y1 * y), round(box.y2 * y)
    return f"M{x1} {y1}H{x2}V{y2}H{x1}z"


def _subpath(outline: NDArray[np.float32]) -> str:
    corners = np.asarray(cv2.approxPolyDP(outline, TOLERANCE, True)).reshape(-1, 2)
    points = np.rint(corners).astype(int)
    steps = np.diff(points, axis=0)
    # A minus sign separates numbers as well as a space does.
    numbers = [str(number) for number in steps[steps.any(axis=1)].reshape(-1)]
    line = " ".join(numbers).replace(" -", "-")
    return f"M{points[0, 0]} {points[0, 1]}l{line or '0 0'}z"
