"""The test photographs at any size."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np

from deep_perception import images
from deep_perception.images import BgrImage

PHOTOGRAPHS = sorted((Path(__file__).parents[1] / "test" / "data").glob("*.jpg"))


def photograph(width: int, height: int, number: int = 0) -> BgrImage:
    """A test photograph, stretched to a size in pixels."""
    image = images.load(PHOTOGRAPHS[number])
    return cv2.resize(image, (width, height), interpolation=cv2.INTER_AREA).astype(np.uint8)
