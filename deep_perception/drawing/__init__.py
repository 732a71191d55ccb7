"""Images for people: the annotated image and the image of contours and points."""

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
from deep_perception.points import Contour, Point, PointSource
from deep_perception.regions import Region, Scene

SOURCE_COLORS: dict[PointSource, Color] = {"contour": (60, 76, 231), "grid": (235, 152, 52)}
# Small regions stand out while a large background keeps its own colours: the opacity falls from the
# first value at an area of 0 to the second at LARGE_SHARE of the image.
SMALL_OPACITY, LARGE_OPACITY, LARGE_SHARE = 0.5, 0.16, 0.25
# Smaller images are enlarged to this side, so that labels have room.
MIN_SIDE = 960
# Fractional bits of the coordinates that are given to OpenCV's drawing functions.
SHIFT = 4


def annotate(
    scene: Scene, image: BgrImage, *, label: Literal["index", "words"] = "index"
) -> BgrImage:
    """Draw the regions over a copy of an image of the same view (HxWx3 BGR, any size).

    Each region has its own colour, with its outline, bounding box, prompt point (red: contour,
    blue: grid) and label. Labels do not overlap and stay inside; one without room is left out.
    """
    canvas = masks.size_of(image)
    # The largest regions are drawn first, so that a part is drawn over the object it belongs to.
    ordered = sorted(scene.regions, key=lambda region: -region.area)
    outlines = {region.index: _outlines(region, canvas) for region in ordered}
    drawn = _fill(image, ordered, outlines)
    thickness = max(1, round(max(canvas) / 800))
    for region in ordered:
        color = color_of(region)
        cv2.polylines(
            drawn, outlines[region.index], True, color, thickness, cv2.LINE_AA, shift=SHIFT
        )
        box = _scaled_box(region.box, scene.size, canvas)
        cv2.rectangle(drawn, (box.x1, box.y1), (box.x2 - 1, box.y2 - 1), color, 1)
    for region in ordered:
        _draw_point(drawn, _on_canvas(region.point, scene.size, canvas), region.point.source)
    _draw_labels(drawn, scene, label)
    return drawn


def for_people(image: BgrImage, max_side: int) -> BgrImage:
    """A copy whose longer side is between MIN_SIDE and ``max_side``, which has priority."""
    width, height = masks.size_of(image)
    side = min(max(width, height, MIN_SIDE), max_side)
    scale = side / max(width, height)
    if scale == 1:
        return image.copy()
    size = (max(1, round(width * scale)), max(1, round(height * scale)))
    interpolation = cv2.INTER_AREA if scale < 1 else cv2.INTER_CUBIC
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)


def contours_debug(
    image: BgrImage, contours: Sequence[Contour], points: Sequence[Point], size: Size
) -> BgrImage:
    """Draw contours and points over a darkened copy of an image of the same view (HxWx3 BGR).

    ``size`` is that of the working image on which they were proposed.
    """
    drawn = (image * 0.45).astype(np.uint8)
    canvas = masks.size_of(image)
    thickness = max(1, round(max(canvas) / 900))
    for rank, contour in enumerate(contours):
        outline = _scaled_outline(contour, size, canvas)
        cv2.polylines(
            drawn, [outline], False, region_color(rank + 1), thickness, cv2.LINE_AA, shift=SHIFT
        )
    for point in reversed(points):
        _draw_point(drawn, _on_canvas(point, size, canvas), point.source)
    proposed = [sum(point.source == source for point in points) for source in SOURCE_COLORS]
    text = (
        f"{len(contours)} contours; points: {proposed[0]} contour (red), {proposed[1]} grid (blue)"
    )
    height = max(14, max(canvas) // 50)
    tile = labels.render(text, height)
    box = labels.place((0, 0), Size(tile.shape[1], height), canvas, [])
    if box is not None:
        labels.paint(drawn, box, tile, (235, 235, 235))
    return drawn


def color_of(region: Region) -> Color:
    """The BGR colour of a region: by its track id if it has one, else by its index."""
    track_id = region.track_id.encode()
    return region_color(zlib.crc32(track_id) % 1000 if track_id else region.index)


def region_color(index: int) -> Color:
    """A vivid BGR colour, different from those of near indices: hues step by the golden ratio."""
    hue = (index * 0.618033988749895) % 1.0
    red, green, blue = colorsys.hsv_to_rgb(hue, 0.62 + 0.3 * (index % 2), 1.0)
    return int(blue * 255), int(green * 255), int(red * 255)


def _fill(
    image: BgrImage, ordered: Sequence[Region], outlines: dict[int, list[NDArray[np.int32]]]
) -> BgrImage:
    layer = np.zeros(image.shape[:2], np.uint16)
    for region in ordered:
        # All outlines are passed in one call, so that the even-odd rule leaves holes open.
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


def _draw_point(image: BgrImage, centre: tuple[int, int], source: PointSource) -> None:
    radius = max(2, round(max(image.shape[:2]) / 320))
    cv2.circle(image, centre, radius + 1, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, centre, radius, SOURCE_COLORS[source], cv2.FILLED, cv2.LINE_AA)


def _draw_labels(image: BgrImage, scene: Scene, label: Literal["index", "words"]) -> None:
    canvas = masks.size_of(image)
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
            labels.paint(image, box, tile, color_of(region))
