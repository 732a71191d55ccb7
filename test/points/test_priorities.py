"""The order of the prompt points."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.analyzer import Analyzer
from deep_perception.points import Point, propose
from deep_perception.points.priorities import novelty, prioritize, saliency
from deep_perception.settings import PointSettings
from deep_perception.settings.options import settings_from
from deep_perception.stream import Stream


def stripes(width=320, height=240):
    """An image of fine, regular stripes, in which nothing is salient."""
    image = np.full((height, width, 3), 120, np.uint8)
    image[:, ::8] = 160
    return image


def with_disc(image, x, y, radius=18):
    rows, columns = np.mgrid[: image.shape[0], : image.shape[1]]
    changed = image.copy()
    changed[(columns - x) ** 2 + (rows - y) ** 2 <= radius**2] = (20, 20, 220)
    return changed


def near(point, x, y, distance=40):
    return abs(point.x - x) <= distance and abs(point.y - y) <= distance


def test_area_keeps_the_order_of_the_points():
    image = with_disc(stripes(), 240, 60)
    points = propose(image, PointSettings())
    assert prioritize(points, image, None, PointSettings(order="area")) == points


@pytest.mark.parametrize(("x", "y"), [(60, 60), (240, 60), (160, 190)])
def test_saliency_puts_salient_points_first(x, y):
    image = with_disc(stripes(), x, y)
    points = propose(image, PointSettings(sources="grid"))
    ordered = prioritize(points, image, None, PointSettings(order="saliency"))
    assert near(ordered[0], x, y)
    assert sorted(ordered, key=points.index) == points


@pytest.mark.parametrize(("x", "y"), [(60, 60), (240, 60), (160, 190)])
def test_novelty_puts_changed_points_first(x, y):
    before = with_disc(stripes(), 100, 120)
    now = with_disc(before, x, y)
    points = propose(now, PointSettings(sources="grid"))
    ordered = prioritize(points, now, before, PointSettings(order="novelty"))
    assert near(ordered[0], x, y)


@pytest.mark.parametrize("previous", [None, np.zeros((10, 10, 3), np.uint8)])
def test_novelty_without_a_comparable_image_keeps_the_order(previous):
    image = stripes()
    points = propose(image, PointSettings(sources="grid"))
    assert prioritize(points, image, previous, PointSettings(order="novelty")) == points


def test_exposure_alone_is_no_novelty():
    image = with_disc(stripes(), 200, 100)
    darker = (image * 0.7).astype(np.uint8)
    moved = with_disc(stripes(), 60, 180)
    assert novelty(image, darker).max() < 0.1 * novelty(image, moved).max()


@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 2**32 - 1))
def test_any_image_has_finite_priorities(width, height, seed):
    noise = np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)
    for image in (noise, np.zeros_like(noise)):
        for found in (saliency(image), novelty(image, noise)):
            assert found.shape == (height, width)
            assert np.isfinite(found).all()


def test_a_sweep_with_a_limit_finds_the_new_object():
    settings = settings_from({"points.order": "novelty", "sweep.max_regions": 1})
    background = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    background[30:200, 20:120] = (40, 160, 40)
    changed = background.copy()
    changed[80:150, 200:280] = (30, 30, 200)
    stream = Stream()
    with Analyzer(settings) as analyzer:
        for stamp_ns, image in ((1, background), (2, changed)):
            stream.keyframes.request()
            selected = stream.select(stamp_ns, image.copy, settings.keyframes)
            scene = stream.analyze(analyzer, selected, settings)
    (region,) = scene.regions
    assert changed[region.point.y, region.point.x].tolist() == [30, 30, 200]


def test_every_order_has_the_same_points():
    points = [Point(3, 4, "grid"), Point(30, 40, "contour"), Point(9, 9, "grid")]
    image = stripes(64, 48)
    for order in ("saliency", "novelty", "area"):
        ordered = prioritize(points, image, image, PointSettings(order=order))
        assert set(ordered) == set(points)
