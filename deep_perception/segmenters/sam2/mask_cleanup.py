"""Mask clean-up: fill holes, drop specks, keep the largest component. Pure functions on HxW bool.

Components of the mask and of its background are 8-connected, as in Meta's SAM2.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.masks import Mask


def clean(
    mask: Mask, *, fill_holes_area: int, drop_specks_area: int, largest_component: bool
) -> Mask:
    """Fill holes, then drop specks, then all but the largest component.

    Areas are in pixels; 0 leaves the step out.
    """
    if fill_holes_area:
        mask = fill_holes(mask, fill_holes_area)
    if drop_specks_area:
        mask = drop_specks(mask, drop_specks_area)
    return keep_largest(mask) if largest_component else mask


def fill_holes(mask: Mask, area: int) -> Mask:
    """The mask with every background component of at most ``area`` pixels filled.

    This includes components at the border of the image. An empty mask stays empty, because the
    whole background is no hole.
    """
    return ~drop_specks(~mask, area) if mask.any() else mask.copy()


def drop_specks(mask: Mask, area: int) -> Mask:
    """The mask without its components of at most ``area`` pixels."""
    labels, areas = _components(mask)
    keep = areas > area
    keep[0] = False
    return keep[labels]


def keep_largest(mask: Mask) -> Mask:
    """The largest component of the mask; of equal ones the first in reading order."""
    labels, areas = _components(mask)
    if len(areas) == 1:
        return mask.copy()
    return np.equal(labels, 1 + int(areas[1:].argmax()))


def _components(mask: Mask) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """Labels (H, W) from 1, with 0 outside the mask, and the area of each label including 0."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(mask.astype(np.uint8), connectivity=8)
    return np.asarray(labels, np.int32), stats[:, cv2.CC_STAT_AREA].astype(np.int64)
