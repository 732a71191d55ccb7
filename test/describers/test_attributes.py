"""The embedded describer says what is measurable, and says it right."""

import cv2
import numpy as np
import pytest

from deep_perception import colors
from deep_perception.describers.attributes import Attributes
from deep_perception.masks import Size
from deep_perception.points import Point
from deep_perception.regions import Region

WIDTH, HEIGHT = 320, 240


def describe(mask, color=(0, 0, 255), background=(255, 255, 255), image=None):
    """Description of one region of a flat colour on a flat background (BGR)."""
    if image is None:
        image = np.full((HEIGHT, WIDTH, 3), background, np.uint8)
        image[mask] = color
    y, x = np.argwhere(mask)[0]
    region = Region.from_mask(
        index=1,
        point=Point(int(x), int(y), "grid"),
        mask=mask,
        score=1.0,
        source=Size(image.shape[1], image.shape[0]),
    )
    ((described, description),) = Attributes().describe(image, [region])
    assert described is region
    return description


def drawn(draw):
    canvas = np.zeros((HEIGHT, WIDTH), np.uint8)
    draw(canvas)
    return canvas.astype(bool)


DISC = drawn(lambda canvas: cv2.circle(canvas, (160, 120), 30, 1, -1))


LINE = drawn(lambda canvas: cv2.line(canvas, (20, 120), (260, 120), 1, 3))
BAR = drawn(lambda canvas: cv2.rectangle(canvas, (150, 60), (175, 180), 1, -1))
SQUARE = drawn(lambda canvas: cv2.rectangle(canvas, (100, 80), (170, 150), 1, -1))
ARC = drawn(lambda canvas: cv2.ellipse(canvas, (160, 120), (70, 70), 0, 0, 200, 1, 8))


@pytest.mark.parametrize(
    ("rgb", "name"),
    [
        ((0, 0, 0), "black"),
        ((60, 60, 60), "dark grey"),
        ((128, 128, 128), "grey"),
        ((200, 200, 200), "light grey"),
        ((255, 255, 255), "white"),
        ((220, 20, 30), "red"),
        ((120, 10, 15), "red"),
        ((255, 140, 0), "orange"),
        ((250, 220, 20), "yellow"),
        ((30, 160, 50), "green"),
        ((20, 90, 30), "green"),
        ((40, 200, 200), "turquoise"),
        ((30, 60, 200), "blue"),
        ((20, 30, 90), "blue"),
        ((130, 40, 160), "purple"),
        ((255, 150, 190), "pink"),
        ((120, 75, 40), "brown"),
        ((222, 200, 165), "beige"),
    ],
)
def test_colour_names(rgb, name):
    pixel = np.array([[rgb[::-1]]], np.uint8)
    assert colors.NAMES[colors.name_pixels(colors.to_lab(pixel))[0, 0]] == name


@pytest.mark.parametrize(
    ("mask", "key", "expected"),
    [
        (DISC, "shape", "round"),
        (drawn(lambda c: cv2.rectangle(c, (100, 80), (180, 150), 1, -1)), "shape", "rectangular"),
        (drawn(lambda c: cv2.ellipse(c, (160, 120), (60, 30), 0, 0, 360, 1, -1)), "shape", "oval"),
        (drawn(lambda c: cv2.line(c, (20, 120), (300, 120), 1, 5)), "shape", "strip-like"),
        (drawn(lambda c: cv2.line(c, (20, 120), (300, 120), 1, 5)), "orientation", "horizontal"),
        (drawn(lambda c: cv2.line(c, (90, 20), (90, 220), 1, 9)), "orientation", "vertical"),
        (drawn(lambda c: cv2.line(c, (60, 20), (240, 200), 1, 9)), "orientation", "diagonal"),
        (ARC, "shape", "irregular"),
        (DISC, "place", "in the centre"),
        (drawn(lambda c: cv2.circle(c, (30, 30), 15, 1, -1)), "place", "at the top left"),
        (drawn(lambda c: cv2.circle(c, (290, 120), 15, 1, -1)), "place", "on the right"),
        (drawn(lambda c: cv2.circle(c, (160, 220), 15, 1, -1)), "place", "at the bottom"),
        (np.ones((HEIGHT, WIDTH), bool), "place", "all over the picture"),
        (drawn(lambda c: cv2.circle(c, (30, 30), 5, 1, -1)), "size", "tiny"),
        (np.ones((HEIGHT, WIDTH), bool), "size", "very large"),
        (DISC, "texture", "smooth"),
        (DISC, "contrast", "stands out strongly from"),
        (DISC, "color", "red"),
    ],
)  # fmt: skip
def test_attributes(mask, key, expected):
    assert describe(mask).attributes[key] == expected


def test_noise_is_busy():
    noise = np.random.default_rng(0).integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8)
    assert describe(DISC, image=noise).attributes["texture"] == "busy"


def test_the_same_colour_all_around_blends_in():
    contrast = describe(DISC, (200, 200, 200), (205, 205, 205)).attributes["contrast"]
    assert contrast == "blends into"


def test_two_colours_are_both_named():
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    image[DISC] = (0, 0, 255)
    image[:120][DISC[:120]] = (200, 60, 20)
    assert set(describe(DISC, image=image).attributes["color"].split(" and ")) == {"red", "blue"}


def test_the_sentence_is_plain_and_whole():
    text = describe(DISC).text
    assert text == (
        "A medium-sized, round, red region with a smooth surface in the centre; it covers 3.7 % of "
        "the picture and stands out strongly from its surroundings."
    )


@pytest.mark.parametrize(
    ("mask", "color", "label"),
    [
        (DISC, (0, 0, 130), "medium-sized round dark red region"),
        (DISC, (60, 60, 60), "medium-sized round dark grey region"),
        (LINE, (230, 120, 40), "medium-sized horizontal blue strip"),
        (BAR, (230, 120, 40), "medium-sized vertically elongated blue region"),
        (SQUARE, (0, 0, 255), "large rectangular red region"),
    ],
)
def test_labels_read_well(mask, color, label):
    assert describe(mask, color).label == label


def test_regions_of_the_same_look_are_told_apart_by_their_place():
    image = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    discs = [drawn(lambda c, x=x: cv2.circle(c, (x, 120), 20, 1, -1)) for x in (40, 280)]
    for disc in discs:
        image[disc] = (0, 0, 255)
    regions = [
        Region.from_mask(
            index=index,
            point=Point(x, 120, "grid"),
            mask=disc,
            score=1.0,
            source=Size(WIDTH, HEIGHT),
        )
        for index, (disc, x) in enumerate(zip(discs, (40, 280), strict=True), start=1)
    ]
    labels = [words.label for _, words in Attributes().describe(image, regions)]
    assert labels == [f"medium-sized round red region on the {side}" for side in ("left", "right")]


def test_a_frame_is_around_the_picture():
    frame = np.ones((HEIGHT, WIDTH), bool)
    frame[30:-30, 40:-40] = False
    assert describe(frame).attributes["place"] == "around the picture"


def test_a_picture_larger_than_the_mask_is_measured_alike():
    small = np.full((HEIGHT, WIDTH, 3), 255, np.uint8)
    small[DISC] = (0, 0, 255)
    large = cv2.resize(small, (WIDTH * 3, HEIGHT * 3), interpolation=cv2.INTER_NEAREST)
    assert describe(DISC, image=large).attributes == describe(DISC, image=small).attributes


@pytest.mark.parametrize("shape", [(1, 1), (1, 50), (50, 1), (2, 2)])
def test_degenerate_pictures_have_words_too(shape):
    mask = np.ones(shape, bool)
    description = describe(mask, image=np.full((*shape, 3), 90, np.uint8))
    assert description.status == "described"
    assert "grey" in description.label
    assert "contrast" not in description.attributes
