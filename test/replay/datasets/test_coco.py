"""Datasets in COCO's format, read by pycocotools."""

import contextlib
import io
import re

import cv2
import numpy as np
import pytest

from support.datasets import opened, same_order

coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")
cocoeval = pytest.importorskip("pycocotools.cocoeval", reason="needs pycocotools (pip)")


def test_coco_masks_are_those_of_the_regions_to_the_pixel(made, scenes):
    dataset = opened(made / "coco/annotations/instances.json")
    found, expected = same_order(dataset), scenes.described()
    assert len(found) == len(expected) > 200
    for annotation, (bag, record, region) in zip(found, expected, strict=True):
        np.testing.assert_array_equal(dataset.annToMask(annotation), region.source_mask())
        x, y, width, height = annotation["bbox"]
        assert (x, y, x + width, y + height) == region.box
        assert annotation["area"] == region.area
        assert annotation["iscrowd"] == 0
        assert annotation["caption"] == region.description.text
        assert annotation["attributes"] == region.description.attributes
        assert annotation["track_id"] == region.track_id
        (category,) = dataset.loadCats(annotation["category_id"])
        assert category["name"].casefold() == region.description.label.casefold()
        (image,) = dataset.loadImgs(annotation["image_id"])
        assert (image["bag"], image["topic"], image["stamp_ns"]) == (
            bag, record.topic, record.stamp_ns,
        )  # fmt: skip
        assert (image["width"], image["height"]) == record.scene.size
    regions = [region for _, record, _ in scenes for region in record.scene.regions]
    statuses = {region.description.status for region in regions}
    assert statuses == {"described", "reused", "failed", "pending"}


def test_coco_images_are_those_of_the_scenes(made, scenes):
    dataset = opened(made / "coco/annotations/instances.json")
    images = dataset.loadImgs(sorted(dataset.getImgIds()))
    for image, (_, _, picture) in zip(images, scenes.written(), strict=True):
        path = made / "coco/images" / image["file_name"]
        error = np.abs(cv2.imread(str(path)).astype(int) - picture())
        assert error.mean() < 3
    names = {image["file_name"] for image in images}
    assert {path.name for path in (made / "coco/images").iterdir()} == names
    assert all(re.fullmatch(r"[A-Za-z0-9_-]+\.jpg", name) for name in names)


def test_coco_polygons_are_near_to_the_masks(made, scenes):
    dataset = opened(made / "coco/annotations/instances_polygons.json")
    exact = same_order(opened(made / "coco/annotations/instances.json"))
    for annotation, other in zip(same_order(dataset), exact, strict=True):
        assert {**annotation, "segmentation": 0} == {**other, "segmentation": 0}
        assert isinstance(annotation["segmentation"], list)
    for annotation, (_, _, region) in zip(same_order(dataset), scenes.described(), strict=True):
        mask, found = region.source_mask(), dataset.annToMask(annotation).astype(bool)
        assert (mask & found).sum() / (mask | found).sum() >= 0.97
        assert {len(part) % 2 for part in annotation["segmentation"]} == {0}
        assert min(map(len, annotation["segmentation"])) >= 6


@pytest.mark.parametrize("kind", ["segm", "bbox"])
@pytest.mark.parametrize("name", ["instances", "instances_polygons"])
def test_coco_measured_against_itself_is_perfect(made, name, kind):
    dataset = opened(made / f"coco/annotations/{name}.json")
    results = [
        {key: each[key] for key in ("image_id", "category_id", "score", "segmentation", "bbox")}
        for each in dataset.loadAnns(dataset.getAnnIds())
    ]
    for result in results:
        del result["bbox" if kind == "segm" else "segmentation"]
        if name == "instances_polygons" and kind == "segm":
            # Results are run lengths.
            (image,) = dataset.loadImgs(result["image_id"])
            parts = coco.maskUtils.frPyObjects(
                result["segmentation"], image["height"], image["width"]
            )
            result["segmentation"] = coco.maskUtils.merge(parts)
    with contextlib.redirect_stdout(io.StringIO()):
        measured = cocoeval.COCOeval(dataset, dataset.loadRes(results), kind)
        measured.evaluate()
        measured.accumulate()
        measured.summarize()
    assert measured.stats[0] == pytest.approx(1.0)


def test_coco_captions(made, scenes):
    dataset = opened(made / "coco/annotations/captions.json")
    instances = opened(made / "coco/annotations/instances.json")
    expected = [region.description.text for _, _, region in scenes.described()]
    assert [each["caption"] for each in same_order(dataset)] == expected
    for each in same_order(dataset):
        assert instances.loadAnns(each["id"])[0]["image_id"] == each["image_id"]
    assert dataset.getImgIds() == instances.getImgIds()
