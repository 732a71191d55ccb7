"""The embedded describer: one plain sentence with the measured attributes of a region.

It needs no download, does not guess what an object is, and is the fallback of the other describers.
"""

from __future__ import annotations

import dataclasses
import math
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import NamedTuple

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception import colors, masks
from deep_perception.images import BgrImage
from deep_perception.masks import Box, Mask
from deep_perception.regions import Description, Region

# Width of the band around a region that counts as its surroundings, in pixels at working size.
SURROUNDINGS = 7
# A colour with a share of ALONE of the pixels is named alone, a second colour from SECOND on.
ALONE, SECOND = 0.7, 0.2
# Most pixels of a smaller region belong to its outline, so its texture is not measured.
SURFACE_SHARE = 0.003
SIZES = ((0.003, "tiny"), (0.015, "small"), (0.06, "medium-sized"), (0.2, "large"), (1, "very large"))  # fmt: skip # noqa: E501
LIGHTNESS = ((20, "very dark"), (42, "dark"), (68, "medium"), (86, "light"), (101, "very light"))
TEXTURES = ((7, "smooth"), (16, "lightly textured"), (32, "textured"), (1e9, "busy"))
CONTRASTS = ((9, "blends into"), (20, "differs slightly from"), (38, "stands out from"), (1e9, "stands out strongly from"))  # fmt: skip # noqa: E501


class _Maps(NamedTuple):
    lab: NDArray[np.float32]
    names: NDArray[np.uint8]
    gradient: NDArray[np.float32]


class Attributes:
    """Describes colour, lightness, size, shape, orientation, place, texture and contrast."""

    name = "attributes"
    model = ""
    instant = True

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description]]:
        """Yield one sentence and the attributes of each region of an HxWx3 BGR source image."""
        maps: _Maps | None = None
        described = []
        for region in regions:
            maps = maps or _measure(image, masks.size_of(region.mask))
            described.append((region, _describe(maps, region)))
        labels = Counter(description.label for _, description in described)
        for region, description in described:
            if labels[description.label] > 1:
                # A detection array has the labels only, so equal labels get the place added.
                label = f"{description.label} {description.attributes['place']}"
                description = dataclasses.replace(description, label=label)
            yield region, description

    def close(self) -> None:
        """Do nothing: there is nothing to release."""


def _measure(image: BgrImage, working: masks.Size) -> _Maps:
    if masks.size_of(image) != working:
        image = cv2.resize(image, working, interpolation=cv2.INTER_AREA).astype(np.uint8)
    lab = colors.to_lab(image)
    lightness = np.ascontiguousarray(lab[..., 0])
    gradient = cv2.magnitude(
        cv2.Sobel(lightness, cv2.CV_32F, 1, 0), cv2.Sobel(lightness, cv2.CV_32F, 0, 1)
    )
    return _Maps(lab, colors.name_pixels(lab), gradient.astype(np.float32, copy=False))


def _describe(maps: _Maps, region: Region) -> Description:
    started = time.perf_counter()
    height, width = region.mask.shape
    box = masks.box_of(region.mask)
    window = Box(
        max(0, box.x1 - SURROUNDINGS), max(0, box.y1 - SURROUNDINGS),
        min(width, box.x2 + SURROUNDINGS), min(height, box.y2 + SURROUNDINGS),
    )  # fmt: skip
    inside = (slice(window.y1, window.y2), slice(window.x1, window.x2))
    mask = region.mask[inside]
    area = int(np.count_nonzero(mask))
    share = area / (height * width)
    shape, orientation = _shape(mask, area)
    attributes = {
        "color": _color(maps.names[inside][mask]),
        "lightness": _step(float(maps.lab[inside][..., 0][mask].mean()), LIGHTNESS),
        "size": _step(share, SIZES),
        "area_percent": f"{100 * share:.1f}",
        "shape": shape,
        "orientation": orientation,
        "place": _place(region.mask, box),
        "texture": _texture(maps.gradient[inside], mask) if share >= SURFACE_SHARE else "",
        "contrast": _contrast(maps.lab[inside], mask),
    }
    adjectives, noun = _adjectives(attributes)
    return Description(
        status="described",
        label=" ".join([*adjectives, noun]),
        text=_sentence(attributes, adjectives, noun),
        attributes={key: value for key, value in attributes.items() if value},
        describer=Attributes.name,
        latency_s=time.perf_counter() - started,
        reusable=False,
    )


def _adjectives(attributes: Mapping[str, str]) -> tuple[list[str], str]:
    """Return the words for size, shape and colour in the order before a noun, and the noun."""
    shape, orientation, noun = attributes["shape"], attributes["orientation"], "region"
    if shape == "strip-like":
        shape, noun = orientation, "strip"
    elif shape == "elongated":
        shape = f"{orientation}ly elongated"
    elif shape == "compact":
        shape = ""
    color = attributes["color"]
    named_by_lightness = color.split(" and ")[0] in colors.ACHROMATIC
    if attributes["lightness"] != "medium" and not named_by_lightness:
        color = f"{attributes['lightness']} {color}"
    return [word for word in (attributes["size"], shape, color) if word], noun


def _sentence(attributes: Mapping[str, str], adjectives: list[str], noun: str) -> str:
    texture, contrast = attributes["texture"], attributes["contrast"]
    surface = f" with a {texture} surface" if texture else ""
    surroundings = f" and {contrast} its surroundings" if contrast else ""
    text = (
        f"a {', '.join(adjectives)} {noun}{surface} {attributes['place']}; it covers "
        f"{attributes['area_percent']} % of the picture{surroundings}."
    )
    return text[0].upper() + text[1:]


def _step(value: float, steps: Sequence[tuple[float, str]]) -> str:
    return next((name for limit, name in steps if value < limit), steps[-1][1])


def _color(names: NDArray[np.uint8]) -> str:
    counts = np.bincount(names, minlength=len(colors.NAMES)) / names.size
    first, second = np.argsort(-counts, kind="stable")[:2]
    pair = colors.NAMES[first], colors.NAMES[second]
    alike = colors.ACHROMATIC.issuperset(pair)
    if counts[first] >= ALONE or counts[second] < SECOND or alike:
        return pair[0]
    return " and ".join(pair)


def _texture(gradient: NDArray[np.float32], mask: Mask) -> str:
    # The pixels at the rim belong to the outline and not to the surface.
    core = cv2.erode(mask.astype(np.uint8), np.ones((5, 5), np.uint8)).astype(bool)
    return _step(float(gradient[core if core.any() else mask].mean()), TEXTURES)


def _shape(mask: Mask, area: int) -> tuple[str, str]:
    """Return the shape and, if elongated, the orientation, from the hull and the min-area box."""
    outlines, _ = cv2.findContours(
        mask.astype(np.uint8), cv2.RETR_EXTERNAL, cv2.CHAIN_APPROX_SIMPLE
    )
    outline = np.concatenate(outlines)
    # Contours run through pixel centres: that of n x m pixels measures (n-1) x (m-1).
    (_, sides, angle) = cv2.minAreaRect(outline)
    long_side, short_side = max(sides) + 1, min(sides) + 1
    hull = cv2.convexHull(outline)
    hull_area = cv2.contourArea(hull) + cv2.arcLength(hull, True) / 2 + 1
    orientation = ""
    irregular = area < 0.65 * hull_area
    if long_side > 2.5 * short_side and (long_side > 6 * short_side or not irregular):
        tilt = (angle if sides[0] >= sides[1] else angle + 90) % 180
        orientation = _orientation(tilt)
    if long_side > 6 * short_side:
        return "strip-like", orientation
    if irregular:
        return "irregular", ""
    if orientation:
        return "elongated", orientation
    if area > 0.87 * long_side * short_side:
        return "rectangular", ""
    if area > 0.9 * math.pi / 4 * long_side * short_side and area > 0.92 * hull_area:
        return ("round" if long_side < 1.3 * short_side else "oval"), ""
    return "compact", ""


def _orientation(tilt: float) -> str:
    if tilt < 22.5 or tilt >= 157.5:
        return "horizontal"
    return "vertical" if 67.5 <= tilt < 112.5 else "diagonal"


def _contrast(lab: NDArray[np.float32], mask: Mask) -> str:
    side = 2 * SURROUNDINGS + 1
    kernel = cv2.getStructuringElement(cv2.MORPH_ELLIPSE, (side, side))
    around = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~mask
    if not around.any():
        return ""
    difference = np.linalg.norm(lab[mask].mean(axis=0) - lab[around].mean(axis=0))
    return _step(float(difference), CONTRASTS)


def _place(mask: Mask, box: Box) -> str:
    height, width = mask.shape
    rows, columns = np.nonzero(mask[box.y1 : box.y2, box.x1 : box.x2])
    x, y = columns.mean() + box.x1, rows.mean() + box.y1
    if rows.size > 0.8 * width * height:
        return "all over the picture"
    spans = box.width > 0.9 * width and box.height > 0.9 * height
    if spans and not mask[int(y), int(x)]:
        return "around the picture"
    row, column = min(2, int(3 * (y + 0.5) / height)), min(2, int(3 * (x + 0.5) / width))
    vertical, horizontal = ("top", "", "bottom")[row], ("left", "", "right")[column]
    if vertical and horizontal:
        return f"at the {vertical} {horizontal}"
    if vertical or horizontal:
        return f"at the {vertical}" if vertical else f"on the {horizontal}"
    return "in the centre"
