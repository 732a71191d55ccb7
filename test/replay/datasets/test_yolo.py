"""Datasets in YOLO's format, read as Ultralytics reads them."""

import dataclasses

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.masks import Size, encode
from deep_perception.points import Point
from deep_perception.regions import Region
from deep_perception.replay.datasets import export
from deep_perception.replay.datasets.yolo import Yolo, YoloSeg
from support.datasets import Scenes, has_words, opened, pictures_of
from support.yolo_reader import filled, labels_of, read_dataset, read_labels

pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")


def test_yolo_boxes_are_those_of_the_regions(made, scenes, monkeypatch, tmp_path):
    # From whatever folder it is read.
    monkeypatch.chdir(tmp_path)
    expected = {}
    dataset = opened(made / "coco/annotations/instances.json")
    for image_id in dataset.getImgIds():
        annotations = dataset.loadAnns(dataset.getAnnIds(imgIds=image_id))
        (image,) = dataset.loadImgs(image_id)
        expected[image["file_name"]] = {
            (each["category_id"] - 1, *each["bbox"]) for each in annotations
        }
    data = read_dataset(made / "yolo/data.yaml")
    assert [data["names"][number - 1] for number in sorted(dataset.cats)] == [
        dataset.cats[number]["name"] for number in sorted(dataset.cats)
    ]
    for _, path in pictures_of(data):
        numbers, boxes, _ = read_labels(path, data["nc"])
        width, height = cv2.imread(str(path)).shape[1::-1]
        boxes = boxes * [width, height, width, height]
        corners = np.rint(np.concatenate([boxes[:, :2] - boxes[:, 2:] / 2, boxes[:, 2:]], axis=1))
        assert np.abs(boxes[:, :2] - boxes[:, 2:] / 2 - corners[:, :2]).max() < 0.01
        found = {(int(n), *map(int, box)) for n, box in zip(numbers, corners, strict=True)}
        assert found == expected.pop(path.name)
    assert not expected


def test_yolo_outlines_are_near_to_the_masks(made, scenes):
    data = read_dataset(made / "yolo-seg/data.yaml")
    regions = {
        f"{'drive' if bag == 'drive' else 'Fahrt_2_5'}_{record.position:08d}.jpg": [
            region for region in record.scene.regions if has_words(region)
        ]
        for bag, record, _ in scenes.written()
    }
    for _, path in pictures_of(data):
        _, boxes, outlines = read_labels(path, data["nc"])
        for region, outline in zip(regions.pop(path.name), outlines, strict=True):
            mask = region.source_mask()
            found = filled(outline, *region.rle.size)
            assert (mask & found).sum() / (mask | found).sum() > 0.95
            # Ultralytics keeps so many corners.
            assert 3 <= len(outline) <= 1000
        assert len(boxes) == len(outlines)
    assert not regions


@pytest.mark.parametrize("name", ["yolo", "yolo-seg"])
def test_images_that_ultralytics_refuses_are_not_in_yolo(scenes, tmp_path, name):
    both = Scenes({})
    both.all = [*scenes.all]
    bag, record, _ = scenes.written()[0]
    for number, (width, height) in enumerate([(9, 40), (40, 9), (10, 10)]):
        words = next(filter(has_words, record.scene.regions)).description
        region = region_of(np.ones((height, width), bool)).described(words)
        size = Size(width, height)
        scene = dataclasses.replace(record.scene, size=size, regions=(region,))
        small = dataclasses.replace(record, position=90_000 + number, scene=scene)
        both.all.append((bag, small, lambda size=size: np.zeros((*size[::-1], 3), np.uint8)))
    said = export([name, "coco"], tmp_path, both)
    data = read_dataset(tmp_path / name / "data.yaml")
    pictures = pictures_of(data)
    for _, path in pictures:
        read_labels(path, data["nc"])
        assert labels_of(path).is_file()
    assert len(pictures) == len(both.all) - len(scenes.all) + len(scenes.written()) - 2
    assert len(list((tmp_path / name / "labels").rglob("*.txt"))) == len(pictures)
    assert any("; 2 with less than 10 pixels a side left out -> " in line for line in said)
    assert len(list((tmp_path / "coco/images").iterdir())) == len(pictures) + 2


def region_of(mask):
    return Region.from_mask(
        index=1, point=Point(0, 0, "grid"), mask=mask, score=1.0,
        source=Size(mask.shape[1], mask.shape[0]),
    )  # fmt: skip


@given(st.integers(10, 70), st.integers(10, 70), st.data())
def test_every_yolo_line_is_inside_of_the_image(height, width, data):
    x1, x2 = sorted(data.draw(st.lists(st.integers(0, width), min_size=2, max_size=2, unique=True)))
    y1, y2 = sorted(
        data.draw(st.lists(st.integers(0, height), min_size=2, max_size=2, unique=True))
    )
    mask = np.zeros((height, width), bool)
    mask[y1:y2, x1:x2] = True
    mask[y1, width - 1] = True
    region, size = region_of(mask), Size(width, height)
    assert encode(mask) == region.rle
    for writer in (Yolo, YoloSeg):
        coordinates = writer.coordinates(region, size)
        assert ((coordinates >= 0) & (coordinates <= 1)).all()
    assert len(coordinates) >= 3
    found = filled(np.round(coordinates, 6), width, height)
    assert not (mask & ~found).any()
