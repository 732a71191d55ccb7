"""Images for people: the annotated image and the image of contours and points.

The annotated image keeps the colours of the image: people and vision models read them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import cv2
import numpy as np

from deep_perception import masks
from deep_perception.drawing import labels, text
from deep_perception.drawing.labels import Layout, Thing
from deep_perception.drawing.outlines import (
    CASING,
    SHIFT,
    Outlines,
    color_of,
    draw_outline,
    find_outlines,
    region_color,
    scaled_outline,
    tint,
)
from deep_perception.drawing.text import Color
from deep_perception.images import BgrImage
from deep_perception.masks import Box, Cut, Size
from deep_perception.points import Contour, Point, PointSource
from deep_perception.regions import Region, Scene

__all__ = [
    "SOURCE_COLORS",
    "annotate",
    "color_of",
    "contours_debug",
    "for_people",
    "region_color",
]

SOURCE_COLORS: dict[PointSource, Color] = {"contour": (60, 76, 231), "grid": (235, 152, 52)}
# Smaller images are enlarged to this side, so that labels have room.
MIN_SIDE = 960
# The places of labels are looked for on an image of at most this side.
LAYOUT_SIDE = 480
Labels = Literal["index", "words"]


def annotate(
    scene: Scene, image: BgrImage, *, label: Labels = "index", opacity: float = 0.0
) -> BgrImage:
    """Draw the regions over a copy of an image of the same view (HxWx3 BGR, any size).

    Each region has its own colour, with its outline, prompt point (red: contour, blue: grid) and
    label. Inside of its outline the image is unchanged, or has the region's colour laid over it
    with an ``opacity`` from 0 to 1. Labels do not overlap and stay inside of the image; one without
    room is left out.
    """
    canvas = masks.size_of(image)
    # The largest regions are drawn first, so that a part is drawn over the object it belongs to.
    ordered = sorted(scene.regions, key=lambda region: -region.area)
    layout_size = _layout_size(canvas)
    outlines, things = {}, {}
    for region in ordered:
        cut = region.cut()
        outlines[region.index] = find_outlines(cut, canvas)
        things[region.index] = _thing(region, cut, scene.size, layout_size)
    base = tint(image, ordered, outlines, opacity) if opacity > 0 else image
    drawn = base.copy()
    thickness = max(1, round(max(canvas) / 800))
    for region in ordered:
        draw_outline(drawn, base, outlines[region.index], color_of(region), thickness)
    placed = _place_labels(scene, things, canvas, label)
    for region, box, _ in placed:
        _draw_leader(drawn, region, outlines[region.index], box, scene.size)
    for region in ordered:
        _draw_point(drawn, region, _on_canvas(region.point, scene.size, canvas))
    for _, box, tile in placed:
        drawn[box.y1 : box.y2, box.x1 : box.x2] = tile
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
        outline = scaled_outline(contour, size, canvas)
        cv2.polylines(
            drawn, [outline], False, region_color(rank + 1), thickness, cv2.LINE_AA, shift=SHIFT
        )
    for point in reversed(points):
        _draw_dot(drawn, _on_canvas(point, size, canvas), point.source, _radius(canvas))
    proposed = [sum(point.source == source for point in points) for source in SOURCE_COLORS]
    legend = (
        f"{len(contours)} contours; points: {proposed[0]} contour (red), {proposed[1]} grid (blue)"
    )
    tile = text.render(legend, max(14, max(canvas) // 50), (235, 235, 235))
    drawn[: tile.shape[0], : tile.shape[1]] = tile[: canvas.height, : canvas.width]
    return drawn


def _scaled_box(box: Box, size: Size, canvas: Size) -> Box:
    """The pixels of the canvas that a box of the source image covers, at least one."""
    x, y = canvas.width / size.width, canvas.height / size.height
    x1, y1 = min(round(box.x1 * x), canvas.width - 1), min(round(box.y1 * y), canvas.height - 1)
    return Box(x1, y1, max(x1 + 1, round(box.x2 * x)), max(y1 + 1, round(box.y2 * y)))


def _on_canvas(point: Point, size: Size, canvas: Size) -> tuple[int, int]:
    return (
        masks.to_source(point.x, size.width, canvas.width),
        masks.to_source(point.y, size.height, canvas.height),
    )


def _radius(canvas: Size) -> int:
    return max(2, round(max(canvas) / 320))


def _draw_point(image: BgrImage, region: Region, centre: tuple[int, int]) -> None:
    canvas = masks.size_of(image)
    size = region.rle.size
    area = region.area * canvas.width * canvas.height / (size.width * size.height)
    # The dot covers at most about a twentieth of a small region.
    radius = min(_radius(canvas), int(np.sqrt(0.05 * area / np.pi)) - 1)
    if radius < 1:
        image[centre[1], centre[0]] = SOURCE_COLORS[region.point.source]
    else:
        _draw_dot(image, centre, region.point.source, radius)


def _draw_dot(image: BgrImage, centre: tuple[int, int], source: PointSource, radius: int) -> None:
    cv2.circle(image, centre, radius + 1, (255, 255, 255), cv2.FILLED, cv2.LINE_AA)
    cv2.circle(image, centre, radius, SOURCE_COLORS[source], cv2.FILLED, cv2.LINE_AA)


def _place_labels(
    scene: Scene, things: Mapping[int, Thing], canvas: Size, label: Labels
) -> list[tuple[Region, Box, BgrImage]]:
    """The labels that have room: their regions, their boxes and their pixels."""
    height = max(12, round(max(canvas) / 58))
    tiles = [
        text.render(_text_of(region, label, height, canvas), height, color_of(region))
        for region in scene.regions
    ]
    small = _layout_size(canvas)
    scale = max(canvas) / max(small)
    sizes = [Size(*(int(np.ceil(side / scale)) for side in tile.shape[1::-1])) for tile in tiles]
    layout = Layout(small, list(things.values()))
    areas = [region.area for region in scene.regions]
    placed = []
    # The labels of small things are placed first: they have the fewest places.
    for number in reversed(labels.most(sizes, areas, small)):
        region, size, tile = scene.regions[number], sizes[number], tiles[number]
        box = layout.place(things[region.index], size, gap=max(2, size.height // 3))
        if box is not None:
            x = min(int(box.x1 * scale), canvas.width - tile.shape[1])
            y = min(int(box.y1 * scale), canvas.height - tile.shape[0])
            placed.append((region, Box(x, y, x + tile.shape[1], y + tile.shape[0]), tile))
    return placed


def _text_of(region: Region, label: Labels, height: int, canvas: Size) -> str:
    words = text.drawable(region.description.label) if label == "words" else ""
    if not words:
        return region.name
    room = min(canvas.width, max(10 * height, round(0.3 * canvas.width)))
    # The name comes first and is never cut.
    words = text.shorten(words, room - text.width_of(f"{region.name} ", height), height)
    return f"{region.name} {words}".rstrip()


def _layout_size(canvas: Size) -> Size:
    scale = max(1.0, max(canvas) / LAYOUT_SIDE)
    return Size(*(max(1, int(side / scale)) for side in canvas))


def _thing(region: Region, cut: Cut, size: Size, canvas: Size) -> Thing:
    box = _scaled_box(region.box, size, canvas)
    inside = cut.inside.astype(np.uint8)
    mask = cv2.resize(inside, (box.width, box.height), interpolation=cv2.INTER_NEAREST)
    return Thing(box=box, mask=mask.astype(bool), point=_on_canvas(region.point, size, canvas))


def _draw_leader(image: BgrImage, region: Region, outlines: Outlines, box: Box, size: Size) -> None:
    """Draw a thin line from a label to its region: to its outline, or to its point from inside."""
    canvas = masks.size_of(image)
    thin = max(1, round(max(canvas) / 1600))
    target = np.array(_on_canvas(region.point, size, canvas), float)
    middle = ((box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2)
    scaled = [(outline / 2**SHIFT).astype(np.float32) for outline in outlines]
    if not any(cv2.pointPolygonTest(outline, middle, False) > 0 for outline in scaled):
        points = np.concatenate(scaled).reshape(-1, 2).astype(float)
        edges = np.clip(points, (box.x1, box.y1), (box.x2 - 1, box.y2 - 1))
        target = points[np.hypot(*(points - edges).T).argmin()]
    start = np.clip(target, (box.x1, box.y1), (box.x2 - 1, box.y2 - 1))
    # The line ends at the casing of the outline, not on the region.
    length = float(np.hypot(*(target - start))) - 2 * thin - 1
    if length > 0:
        end = start + (target - start) * (length / (length + 2 * thin + 1))
        first, last = (np.rint(each).astype(int).tolist() for each in (start, end))
        cv2.line(image, first, last, CASING, thin + 2, cv2.LINE_AA)
        cv2.line(image, first, last, color_of(region), thin, cv2.LINE_AA)
