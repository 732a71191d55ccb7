"""The pixels that a polygon fills in Ultralytics and in pycocotools, which differ at slopes."""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from pycocotools import mask as coco

from deep_perception.masks import Mask, Size

Polygon = NDArray[np.float64]
"""(N, 2) x, y with N >= 3, closed from the last point to the first and filled by the even-odd rule.
The same line leads to a hole and back."""


def overlap(one: Mask, other: Mask) -> float:
    """Return the intersection over union, 1 for two empty masks."""
    union = np.count_nonzero(one | other)
    return np.count_nonzero(one & other) / union if union else 1.0


def fill(parts: Sequence[Polygon], size: Size) -> Mask:
    """Return the HxW bool mask of polygons, filled one after another as in Ultralytics."""
    canvas = np.zeros((size.height, size.width), np.uint8)
    for part in parts:
        cv2.fillPoly(canvas, [np.floor(part).astype(np.int32)], 1)
    return canvas > 0


def fill_as_coco(parts: Sequence[Polygon], size: Size) -> Mask:
    """Return the HxW bool mask of polygons, filled as in pycocotools."""
    if not parts:
        return np.zeros((size.height, size.width), bool)
    lists = [part.reshape(-1).tolist() for part in parts]
    runs = coco.merge(coco.frPyObjects(lists, size.height, size.width))
    return np.asarray(coco.decode(runs), bool)
