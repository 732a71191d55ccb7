"""The image type of the package, its limits, and the error of images that cannot be used."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

BgrImage = NDArray[np.uint8]

# 400 megapixels take 1.2 GB: more than any camera or stitched panorama has, and less than what
# exhausts the memory of a robot's computer.
MAX_PIXELS = 400_000_000


class ImageError(ValueError):
    """An image cannot be analysed; the message is one line with the reason."""


def check_size(width: int, height: int) -> None:
    """Raise ImageError if an image has more pixels than fit into memory."""
    if width * height > MAX_PIXELS:
        raise ImageError(
            f"too large ({width}x{height} pixels, at most {MAX_PIXELS // 10**6} megapixels)"
        )
