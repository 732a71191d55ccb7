"""The segmenter ``sam2``: chunks, sizes, settings, and a whole analysis."""

from pathlib import Path

import cv2
import numpy as np
import pytest

HINT = "run with: python -m pip install -r requirements/sam2.txt"
torch = pytest.importorskip("torch", reason=f"there is no torch; {HINT}")

from deep_perception import images  # noqa: E402
from deep_perception.analyzer import Analyzer  # noqa: E402
from deep_perception.backends import BackendUnavailable  # noqa: E402
from deep_perception.masks import Size  # noqa: E402
from deep_perception.points import propose  # noqa: E402
from deep_perception.segmenters.sam2 import Sam2  # noqa: E402
from deep_perception.settings import PointSettings, SweepSettings  # noqa: E402
from deep_perception.settings.options import settings_from  # noqa: E402
from deep_perception.sweep import Sweep  # noqa: E402
from support.sam2_models import POINTS, SIDE, sam2_settings  # noqa: E402

pytestmark = pytest.mark.sam2
DATA = Path(__file__).parents[2] / "data"


def test_regions_are_the_same_for_every_chunk_size(segmenter, photograph, monkeypatch):
    height, width = photograph.shape[:2]
    embedding = segmenter.embed(photograph)
    points = propose(photograph, PointSettings(grid_columns=6, grid_rows=5, max_contour_points=30))

    def claims(chunk_size):
        monkeypatch.setattr(segmenter, "chunk_size", chunk_size)
        sweep = Sweep(
            segmenter=segmenter,
            embedding=embedding,
            points=points,
            size=Size(width, height),
            settings=SweepSettings(),
        )
        return list(sweep)

    one_by_one = claims(1)
    assert len(one_by_one) > 3
    for chunk_size in (2, 5, 64):
        found = claims(chunk_size)
        assert [claim.point for claim in found] == [claim.point for claim in one_by_one]
        for ours, expected in zip(found, one_by_one, strict=True):
            assert np.array_equal(ours.mask, expected.mask)
            assert ours.score == expected.score


def test_decoding_together_changes_rounding_only(segmenter, photograph, monkeypatch):
    """A GPU decodes many points in one call."""
    embedding = segmenter.embed(photograph)
    alone, scores = segmenter.masks(embedding, POINTS)
    monkeypatch.setattr(segmenter, "_one_by_one", False)
    for chunk_size in (2, 16):
        monkeypatch.setattr(segmenter, "chunk_size", chunk_size)
        together, same_scores = segmenter.masks(embedding, POINTS)
        assert (together != alone).mean() < 1e-4
        assert np.abs(same_scores - scores).max() < 1e-4


def test_no_points_give_no_masks(segmenter, photograph):
    masks, scores = segmenter.masks(segmenter.embed(photograph), np.zeros((0, 2), np.int64))
    assert masks.shape == (0, *photograph.shape[:2])
    assert scores.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (257, 31)])
def test_images_of_any_shape(segmenter, size):
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    masks, scores = segmenter.masks(segmenter.embed(picture), np.array([[width - 1, height - 1]]))
    assert masks.shape == (1, height, width)
    assert masks.dtype == np.bool_
    assert 0 <= scores[0] <= 1


def test_the_side_of_the_image_is_a_setting(folder, photograph):
    larger = Sam2(settings=sam2_settings(folder, image_size=512))
    embedding = larger.embed(photograph)
    assert embedding.side == 512
    assert embedding.features.grid == 32
    assert larger.masks(embedding, POINTS)[0].any()


def test_the_setting_scale_chooses_masks_by_size(folder, photograph, segmenter):
    found = {}
    for scale in ("small", "medium", "large"):
        each = Sam2(settings=sam2_settings(folder, scale=scale))
        found[scale] = each.masks(each.embed(photograph), POINTS)
    best, scores = segmenter.masks(segmenter.embed(photograph), POINTS)
    areas = np.array([masks.sum((1, 2)) for masks, _ in found.values()])
    assert (np.diff(areas, axis=0) >= -2).all()
    assert (areas[0] < areas[2]).any()
    qualities = np.array([each for _, each in found.values()])
    assert np.abs(qualities.max(0) - scores).max() < 1e-5
    for index, winner in enumerate(qualities.argmax(0)):
        assert (list(found.values())[winner][0][index] != best[index]).mean() < 1e-4


def test_masks_are_cleaned_up(folder, photograph, segmenter):
    tidy = Sam2(settings=sam2_settings(folder, largest_component=True, fill_holes_area=50))
    masks, _ = tidy.masks(tidy.embed(photograph), POINTS)
    raw, _ = segmenter.masks(segmenter.embed(photograph), POINTS)
    for mask in masks:
        assert cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] <= 2
    assert (masks != raw).any()


def test_a_photograph_is_analysed_with_sam2(folder):
    chosen = settings_from(
        {
            "segmenter.backend": "sam2",
            "segmenter.checkpoint": str(folder),
            "segmenter.device": "cpu",
            "segmenter.image_size": SIDE,
            "sweep.max_width": 320,
        }
    )
    with Analyzer(chosen) as analyzer:
        picture = images.load(DATA / "astronaut.jpg")
        scene = analyzer.analyze(picture)
        again = analyzer.analyze(picture)
    assert (scene.segmenter, scene.segmenter_model) == ("sam2", "sam2.1-hiera-tiny")
    assert scene.warnings == ()
    assert scene.regions
    assert all(0 <= region.score <= 1 for region in scene.regions)
    assert len(scene.regions) == len(again.regions)
    for first, second in zip(scene.regions, again.regions, strict=True):
        assert np.array_equal(first.mask, second.mask)


def test_a_closed_segmenter_raises_an_error(folder, photograph):
    closed = Sam2(settings=sam2_settings(folder))
    closed.close()
    closed.close()
    with pytest.raises(BackendUnavailable, match="'sam2' is closed"):
        closed.embed(photograph)
