"""Colour names of pixels: the eleven basic terms (Berlin & Kay 1969) and some common ones."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage

# Below this chroma a colour is named grey; dark colours need more chroma to be perceived.
GREY_CHROMA = 9.0
# The upper limit of the hue (angle in the a*b* plane of CIELAB, degrees) and the term up to there.
HUES = (
    (18, "pink"), (42, "red"), (68, "orange"), (105, "yellow"), (165, "green"),
    (215, "turquoise"), (309, "blue"), (335, "purple"), (360, "pink"),
)  # fmt: skip
NAMES = (
    "black", "dark grey", "grey", "light grey", "white", "red", "orange", "yellow", "green",
    "turquoise", "blue", "purple", "pink", "brown", "beige",
)  # fmt: skip
ACHROMATIC = frozenset(("black", "dark grey", "grey", "light grey", "white"))


def to_lab(image: BgrImage) -> NDArray[np.float32]:
    """Convert a BGR image to CIELAB: L 0..100, a and b about -127..127, float32 HxWx3."""
    lab = cv2.cvtColor(image.astype(np.float32) / 255.0, cv2.COLOR_BGR2Lab)
    return lab.astype(np.float32, copy=False)


def name_pixels(lab: NDArray[np.float32]) -> NDArray[np.uint8]:
    """The index into NAMES for every pixel of an HxWx3 CIELAB image."""
    lightness, a, b = lab[..., 0], lab[..., 1], lab[..., 2]
    chroma = np.hypot(a, b)
    hue = np.degrees(np.arctan2(b, a)) % 360
    limits = np.array([limit for limit, _ in HUES])
    terms = np.array([NAMES.index(name) for _, name in HUES], np.uint8)
    # In single precision, a hue just below 360 degrees is rounded to 360.
    band = np.minimum(np.searchsorted(limits, hue, side="right"), len(terms) - 1)
    names = terms[band]
    _assign(names, (names == NAMES.index("pink")) & (lightness < 50), "red")
    _assign(names, (names == NAMES.index("red")) & (lightness > 65), "pink")
    warm = (hue >= 35) & (hue < 100)
    _assign(names, warm & (lightness < 55) & (chroma < 55), "brown")
    _assign(names, warm & (lightness >= 55) & (chroma < 32), "beige")
    grey = chroma < GREY_CHROMA + np.maximum(0, 18 - lightness) * 0.5
    steps = np.searchsorted([14, 36, 64, 86], lightness, side="right").astype(np.uint8)
    names[grey] = steps[grey]
    _assign(names, lightness < 8, "black")
    return names


def _assign(names: NDArray[np.uint8], where: NDArray[np.bool_], name: str) -> None:
    names[where] = NAMES.index(name)
