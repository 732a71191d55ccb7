"""Annotated images: their colours stay, nothing covers a small thing, outlines are visible."""

import dataclasses

import cv2
import numpy as np
import pytest

from deep_perception import drawing
from deep_perception.analyzer import Analyzer
from deep_perception.masks import Size
from deep_perception.points import Point
from deep_perception.regions import Description, Region, Scene


def shapes(width=320, height=240):
    image = np.full((height, width, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    return image


def scene_of(*things, size):
    """Return a scene with one region for each bool mask, at the middle of its first row."""
    regions = []
    for number, mask in enumerate(things, start=1):
        rows, columns = np.nonzero(mask)
        middle = columns[rows == rows[len(rows) // 2]]
        point = Point(int(middle[len(middle) // 2]), int(rows[len(rows) // 2]), "contour")
        regions.append(
            Region.from_mask(index=number, point=point, mask=mask, score=0.9, source=size)
        )
    return Scene(
        size=size, working_size=size, regions=tuple(regions), coverage=0.5, skipped_points=(),
        proposed_points=len(regions), segmenter="superpixels", segmenter_model="",
    )  # fmt: skip


def described(scene, *words):
    regions = (
        region.described(Description(status="described", label=label, text=label))
        for region, label in zip(scene.regions, words, strict=True)
    )
    return dataclasses.replace(scene, regions=tuple(regions))


def disc(size, x, y, radius):
    rows, columns = np.mgrid[: size.height, : size.width]
    return (columns - x) ** 2 + (rows - y) ** 2 <= radius**2


# BGR
FRUITS = {"lime": (50, 205, 50), "orange": (0, 165, 255), "lemon": (0, 244, 255),
          "plum": (133, 69, 142), "tomato": (71, 99, 255), "aubergine": (40, 20, 45)}  # fmt: skip


@pytest.mark.parametrize(
    ("opacity", "largest_step", "largest_hue_step"), [(0.0, 0, 0), (0.1, 28, 22)]
)
@pytest.mark.parametrize("size", [Size(320, 240), Size(960, 720), Size(1920, 1080)])
def test_colours_stay(size, opacity, largest_step, largest_hue_step):
    """A lime stays lime and an orange orange: inside of the outline, the image is unchanged."""
    image = np.full((size.height, size.width, 3), (222, 228, 232), np.uint8)
    fruits, unit = [], size.width / 16
    for number, color in enumerate(FRUITS.values()):
        centre = (2.5 + 5.2 * (number % 3)) * unit, (3 + 6 * (number // 3)) * unit
        fruits.append(disc(size, *centre, 1.8 * unit))
        image[fruits[-1]] = color
    scene = described(scene_of(*fruits, size=size), *FRUITS)
    drawn = drawing.annotate(scene, image, label="words", opacity=opacity)
    for region, color in zip(scene.regions, FRUITS.values(), strict=True):
        inner = cv2.erode(region.source_mask().astype(np.uint8), np.ones((7, 7))).astype(bool)
        inside = drawn[inner].astype(int)
        changed = np.abs(inside - color).max(axis=-1) > largest_step
        # Only the prompt point covers something.
        assert changed.mean() < 0.1, region.name
        shown, original = (
            cv2.cvtColor(np.uint8([[each]]), cv2.COLOR_BGR2HSV)[0, 0]
            for each in (np.median(inside, axis=0), color)
        )
        step = abs(int(shown[0]) - int(original[0]))
        assert min(step, 180 - step) <= largest_hue_step or original[2] < 60, region.name


def test_an_opacity_of_a_half_lays_the_colours_of_the_regions_over_them():
    image = shapes()
    scene = Analyzer().analyze(image)
    drawn = drawing.annotate(scene, image, opacity=0.5)
    for region in scene.regions:
        inside = region.source_mask()
        assert (drawn[inside] != image[inside]).any(axis=-1).mean() > 0.9, region.name


@pytest.mark.parametrize("side", [1, 2, 3, 5, 9, 14])
def test_nothing_covers_a_tiny_thing(side):
    size = Size(640, 480)
    mask = np.zeros((480, 640), bool)
    mask[200 : 200 + side, 300 : 300 + side] = True
    image = np.full((480, 640, 3), (60, 170, 250), np.uint8)
    image[mask] = (10, 20, 200)
    scene = described(scene_of(mask, size=size), "a tiny red light of a machine")
    drawn = drawing.annotate(scene, image, label="words")
    changed = (drawn != image).any(axis=-1)
    assert changed[mask].sum() <= 1 + 0.12 * mask.sum()
    # It has an outline, a label and a line between the two.
    assert changed[196 : 204 + side, 296 : 304 + side].sum() > 4 * side
    assert changed.sum() > 1000
    joined, _ = cv2.connectedComponents(changed.astype(np.uint8), connectivity=8)
    assert joined <= 3


@pytest.mark.parametrize("background", [0, 60, 128, 190, 255])
def test_an_outline_is_visible_on_any_background(background):
    size = Size(400, 300)
    image = np.full((300, 400, 3), background, np.uint8)
    for index in range(1, 20):
        (region,) = scene_of(disc(size, 200, 150, 80), size=size).regions
        scene = scene_of(disc(size, 200, 150, 80), size=size)
        region = dataclasses.replace(region, index=index)
        drawn = drawing.annotate(dataclasses.replace(scene, regions=(region,)), image)
        # Below the label, which stands beside the thing or on it.
        across = np.abs(drawn[229:234, 200].astype(int) - background).max()
        assert across > 90, index


@pytest.mark.parametrize("size", [(1, 1), (9, 16), (20, 10), (64, 48), (3000, 4), (4, 3000)])
@pytest.mark.parametrize("label", ["index", "words"])
def test_any_size_of_image(size, label):
    image = shapes()
    scene = Analyzer().analyze(image)
    canvas = np.zeros((size[1], size[0], 3), np.uint8)
    assert drawing.annotate(scene, canvas, label=label, opacity=0.3).shape == canvas.shape
    debug = drawing.contours_debug(canvas, scene.contours, scene.points, scene.working_size)
    assert debug.shape == canvas.shape


def test_annotate_draws_on_a_copy_of_the_same_size():
    image = shapes()
    before = image.copy()
    scene = Analyzer().analyze(image)
    annotated = drawing.annotate(scene, image)
    assert annotated.shape == image.shape
    assert np.array_equal(image, before)
    assert 0.02 < (annotated != image).any(axis=-1).mean() < 0.4


def test_a_label_that_no_font_has_is_the_number_of_the_region(font_folder, caplog):
    size = Size(640, 480)
    image = np.full((480, 640, 3), 200, np.uint8)
    scene = scene_of(disc(size, 200, 200, 60), size=size)
    expected = drawing.annotate(scene, image, label="index")
    for label in ("红色的杯子", "🍎"):
        drawn = drawing.annotate(described(scene, label), image, label="words")
        assert np.array_equal(drawn, expected)
    # Once, although the image is drawn again and again.
    drawing.annotate(described(scene, "红色"), image, label="words")
    assert len(caplog.records) == 2


def test_the_prompt_point_has_the_colour_of_its_source():
    image = shapes()
    scene = Analyzer().analyze(image)
    annotated = drawing.annotate(scene, image)
    sources = set()
    for region in scene.regions:
        sources.add(region.point.source)
        color = annotated[region.point.y, region.point.x].tolist()
        assert color == list(drawing.SOURCE_COLORS[region.point.source]), region.name
    assert sources == {"contour", "grid"}


@pytest.mark.parametrize(
    ("size", "max_side", "expected"),
    [
        # Small images are enlarged.
        ((320, 240), 1920, (960, 720)),
        # Other images keep their size.
        ((1280, 720), 1920, (1280, 720)),
        # Large images are reduced, also below the minimum size if the limit is smaller.
        ((4000, 1000), 1920, (1920, 480)),
        ((320, 240), 640, (640, 480)),
        ((20_000, 10), 1000, (1000, 1)),
    ],
)
def test_size_of_images_for_people(size, max_side, expected):
    image = np.zeros((size[1], size[0], 3), np.uint8)
    shown = drawing.for_people(image, max_side)
    assert (shown.shape[1], shown.shape[0]) == expected
    assert not np.shares_memory(shown, image)


def test_the_colour_of_a_tracked_region_does_not_depend_on_its_index():
    scene = Analyzer().analyze(np.full((48, 64, 3), 90, np.uint8))
    region = scene.regions[0]
    tracked = dataclasses.replace(region, track_id="t1f")
    again = dataclasses.replace(tracked, index=7)
    assert drawing.color_of(tracked) == drawing.color_of(again)
    assert drawing.color_of(region) != drawing.color_of(dataclasses.replace(region, index=7))
