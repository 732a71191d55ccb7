"""Pictures for people: the annotated image and the contour debug image."""

from __future__ import annotations

import colorsys
import zlib
from collections.abc import Sequence
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception import masks
from deep_perception.drawing import labels
from deep_perception.drawing.labels import Color
from deep_perception.images import BgrImage
from deep_perception.masks import Box, Size
from deep_perception.points import Point, Source, find_contours
from deep_perception.regions import Region, Scene

SOURCE_COLORS: dict[Source, Color] = {"contour": (60, 76, 231), "grid": (235, 152, 52)}
# Small regions stand out, a large background keeps its own colours: opacity at 0 % and from
# LARGE_SHARE of the picture on.
SMALL_OPACITY, LARGE_OPACITY, LARGE_SHARE = 0.5, 0.16, 0.25
# Smaller pictures are enlarged to this for a person's eye, so that labels have room.
MIN_PICTURE_SIDE = 960
# Sub-pixel bits of OpenCV's drawing functions.
SHIFT = 4


def annotate(
    scene: Scene, image: BgrImage, *, label: Literal["index", "words"] = "index"
) -> BgrImage:
    """The regions drawn over a picture of the same view (HxWx3 BGR, any size; not changed).

    Each region in its own colour with its outline, box, prompt point (red: contour, blue: grid)
    and label. Labels do not cover each other and stay inside; one that fits nowhere is left out.
    """
    canvas = masks.size_of(image)
    # The largest go first, so that a part is drawn over the whole that it belongs to.
    ordered = sorted(scene.regions, key=lambda region: -region.area)
    outlines = {region.index: _outlines(region, canvas) for region in ordered}
    picture = _fill(image, ordered, outlines)
    thickness = max(1, round(max(canvas) / 800))
    for region in ordered:
        color = color_of(region)
        cv2.polylines(
            picture, outlines[region.index], True, color, thickness, cv2.LINE_AA, shift=SHIFT
        )
        box = _scaled_box(region.box, scene.size, canvas)
        cv2.rectangle(picture, (box.x1, box.y1), (box.x2 - 1, box.y2 - 1), color, 1)
    for region in ordered:
        _draw_point(picture, _on_canvas(region.point, scene.size, canvas), region.point.source)
    _draw_labels(picture, scene, label)
    return picture


def for_people(image: BgrImage, max_side: int) -> BgrImage:
    """A copy whose longest side lies between MIN_PICTURE_SIDE and ``max_side`` (which wins)."""
    width, height = masks.size_of(image)
    side = min(max(width, height, MIN_PICTURE_SIDE), max_side)
    scale = side / max(width, height)
    if scale == 1:
        return image.copy()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=how).astype(np.uint8, copy=False)


def contours_debug(image: BgrImage, working: BgrImage, points: Sequence[Point]) -> BgrImage:
    """The contours and points proposed on the working image, over the darkened picture."""
    picture = (image * 0.45).astype(np.uint8)
    canvas, size = masks.size_of(image), masks.size_of(working)
    thickness = max(1, round(max(canvas) / 900))
    contours = find_contours(working)
    for rank, contour in enumerate(contours):
        outline = _scaled_outline(contour, size, canvas)
        cv2.polylines(
            picture, [outline], False, region_color(rank + 1), thickness, cv2.LINE_AA, shift=SHIFT
        )
    for point in reversed(points):
        _draw_point(picture, _on_canvas(point, size, canvas), point.source)
    proposed = [sum(point.source == source for point in points) for source in SOURCE_COLORS]
    text = (
        f"{len(contours)} contours; points: {proposed[0]} contour (red), {proposed[1]} grid (blue)"
    )
    height = max(14, max(canvas) // 50)
    tile = labels.render(text, height)
    box = labels.place((0, 0), Size(tile.shape[1], height), canvas, [])
    if box is not None:
        labels.paint(picture, box, tile, (235, 235, 235))
    return picture


def color_of(region: Region) -> Color:
    """A region that is tracked keeps its colour from picture to picture."""
    track = region.track_id.encode()
    return region_color(zlib.crc32(track) % 1000 if track else region.index)


def region_color(index: int) -> Color:
    """A vivid BGR colour, far from its neighbours': hues step by the golden ratio."""
    hue = (index * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62 + 0.3 * (index % 2), 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def _fill(
    image: BgrImage, ordered: Sequence[Region], outlines: dict[int, list[NDArray[np.int32]]]
) -> BgrImage:
    layer = np.zeros(image.shape[:2], np.uint16)
    for region in ordered:
        # All outlines in one call: the even-odd rule leaves holes open.
        cv2.fillPoly(layer, outlines[region.index], region.index, shift=SHIFT)
    count = max((region.index for region in ordered), default=0) + 1
    colors, opacity = np.zeros((count, 3), np.uint8), np.zeros(count, np.float32)
    for region in ordered:
        share = region.area / (region.rle.size.width * region.rle.size.height)
        colors[region.index] = color_of(region)
        opacity[region.index] = np.interp(share, [0, LARGE_SHARE], [SMALL_OPACITY, LARGE_OPACITY])
    blended = cv2.blendLinear(image, colors[layer], 1 - opacity[layer], opacity[layer])
    return blended.astype(np.uint8, copy=False)


def _outlines(region: Region, canvas: Size) -> list[NDArray[np.int32]]:
    inside, box, size = region.cut()
    found, _ = cv2.findContours(
        inside.astype(np.uint8), cv2.RETR_CCOMP, cv2.CHAIN_APPROX_SIMPLE, offset=(box.x1, box.y1)
    )
    return [_scaled_outline(np.asarray(outline), size, canvas) for outline in found]


def _scaled_outline(outline: NDArray[np.int32], size: Size, canvas: Size) -> NDArray[np.int32]:
    scale = np.array([canvas.width / size.width, canvas.height / size.height])
    return np.rint(((outline + 0.5) * scale - 0.5) * 2**SHIFT).astype(np.int32)


def _scaled_box(box: Box, size: Size, canvas: Size) -> Box:
    x, y = canvas.width / size.width, canvas.height / size.height
    return Box(round(box.x1 * x), round(box.y1 * y), round(box.x2 * x), round(box.y2 * y))


def _on_canvas(point: Point, size: Size, canvas: Size) -> tuple[int, int]:
    return (
        masks.to_source(point.x, size.width, canvas.width),
        masks.to_source(point.y, size.height, canvas.height),
    )


def _draw_point(picture: BgrImage, centre: tuple[int, int], source: Source) -> None:
    radius = max(2, round(max(picture.shape[:2]) / 320))
    cv2.circle(picture, centre, radius + 1, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(picture, centre, radius, SOURCE_COLORS[source], cv2.FILLED, cv2.LINE_AA)


def _draw_labels(picture: BgrImage, scene: Scene, label: Literal["index", "words"]) -> None:
    canvas = masks.size_of(picture)
    height = max(11, round(max(canvas) / 58))
    placed: list[Box] = []
    for region in scene.regions:
        text = region.name
        if label == "words" and region.description.label:
            text = f"{region.name} {region.description.label}"
        tile = labels.render(text, height)
        anchor = _on_canvas(region.point, scene.size, canvas)
        gap = max(4, height // 3)
        box = labels.place(anchor, Size(tile.shape[1], height), canvas, placed, gap)
        if box is not None:
            placed.append(box)
            labels.paint(picture, box, tile, color_of(region))
