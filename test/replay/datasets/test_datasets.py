"""Datasets of real scenes, read by the libraries that they are made for."""

import contextlib
import csv
import dataclasses
import functools
import io
import json
import re
import shutil
import tarfile
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.masks import Size, encode
from deep_perception.points import Point
from deep_perception.regions import Description, Region
from deep_perception.replay.datasets import EXPORTS, ExportError, check, export, pairs
from deep_perception.replay.datasets.labels_csv import LabelsError, read
from deep_perception.replay.datasets.pairs import with_margin
from deep_perception.replay.datasets.split import ImageTimes
from deep_perception.replay.datasets.yolo import Yolo, YoloSeg
from deep_perception.replay.files import FolderInUse, lock_folder
from support.photograph_scenes import FRONT, REAR, Photographed, with_words
from support.yolo_reader import filled, labels_of, read_dataset, read_labels

coco = pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")
cocoeval = pytest.importorskip("pycocotools.cocoeval", reason="needs pycocotools (pip)")
webdataset = pytest.importorskip("webdataset", reason="needs webdataset (pip)")

SECOND = 1_000_000_000
HOSTILE = ("yes", "null", "1.0", "- [x]: {y}", "'", '"', "#1", "näher & <b>", "\u202e", "=1+1")


def has_words(region):
    return region.description.status in ("described", "reused")


class Scenes:
    """Scenes of recordings by name, with their pictures, that may be gone through again."""

    def __init__(self, recordings):
        self.all = [
            (
                bag,
                dataclasses.replace(record, position=7 * number),
                functools.partial(photographed.picture, record),
            )
            for bag, photographed in recordings.items()
            for number, record in enumerate(photographed.scenes)
        ]

    def __iter__(self):
        return iter(self.all)

    def changed(self, change):
        """The same with other scenes."""
        other = Scenes({})
        other.all = [(bag, change(record), picture) for bag, record, picture in self.all]
        return other

    def written(self):
        """Those with a region that has words: the others teach nothing."""
        return [each for each in self.all if any(map(has_words, each[1].scene.regions))]

    def described(self):
        """Every region with words."""
        return [
            (bag, record, region)
            for bag, record, _ in self.all
            for region in record.scene.regions
            if has_words(region)
        ]


@pytest.fixture(scope="module")
def recordings():
    return {
        "drive": Photographed({FRONT: ["astronaut", "coffee"], REAR: ["rocket"]}),
        "Fahrt 2.5": Photographed({FRONT: ["chelsea"]}),
    }


@pytest.fixture(scope="module")
def scenes(recordings):
    return Scenes(recordings)


@pytest.fixture(scope="module")
def made(scenes, tmp_path_factory):
    """All datasets of all scenes."""
    folder = tmp_path_factory.mktemp("made")
    export(list(EXPORTS), folder, scenes)
    return folder


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def opened(path):
    with contextlib.redirect_stdout(io.StringIO()):
        return coco.COCO(str(path))


def same_order(dataset):
    """The annotations in the order of the scenes."""
    return dataset.loadAnns(sorted(dataset.getAnnIds()))


def labelled(scenes, labels):
    """The same scenes, their regions' labels from a list, again and again."""

    def change(record):
        for place, region in enumerate(record.scene.regions):
            if region.description.label:
                record = with_words(record, place, label=labels[place % len(labels)])
        return record

    return scenes.changed(change)


# -- COCO ---------------------------------------------------------------------------------------


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


# -- YOLO ---------------------------------------------------------------------------------------


def pictures_of(data):
    return [(part, path) for part in ("train", "val") for path in sorted(data[part].iterdir())]


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


def test_neighbouring_images_are_never_in_both_splits(made, recordings, tmp_path):
    for name in ("yolo", "yolo-seg"):
        data = read_dataset(made / name / "data.yaml")
        bags = {part: {path.name[:5] for path in data[part].iterdir()} for part in ("train", "val")}
        assert bags == {"train": {"drive"}, "val": {"Fahrt"}}
    # Of one recording its end, of all its cameras.
    single = Scenes({"drive": recordings["drive"]})
    export(["yolo"], tmp_path, single)
    data = read_dataset(tmp_path / "yolo/data.yaml")
    places = {record.position: record.log_ns for _, record, _ in single}
    times = {
        part: [places[int(path.stem[-8:])] for path in data[part].iterdir()]
        for part in ("train", "val")
    }
    assert max(times["train"]) < min(times["val"])
    assert len(times["train"]) + len(times["val"]) == len(single.written())


@given(st.dictionaries(st.text(max_size=3), st.lists(st.integers(0, 99), min_size=1, max_size=30)))
def test_a_split_is_by_whole_recordings_or_by_time(bags):
    def split_of(order):
        times = ImageTimes()
        for bag in order:
            for time in bags[bag]:
                times.add(bag, time)
        return times.split()

    split = split_of(bags)
    assert split == split_of(list(reversed(bags)))
    parts = {(bag, time): split.split_of(bag, time) for bag in bags for time in bags[bag]}
    val = [bag for bag, _ in parts if parts[bag, _] == "val"]
    if len(bags) > 1:
        assert set(parts.values()) == {"train", "val"}
        assert all(len({parts[bag, time] for time in bags[bag]}) == 1 for bag in bags)
        share = sum(len(bags[bag]) for bag in set(val)) / sum(map(len, bags.values()))
        assert share <= 0.5 or len(set(val)) == 1
    elif bags:
        ((bag, times),) = bags.items()
        assert (len(set(times)) > 1) == bool(val)
        moments = [parts[bag, time] for time in sorted(times)]
        assert moments == sorted(moments)
        assert moments[0] == "train"


@pytest.mark.parametrize("name", ["yolo", "yolo-seg"])
def test_an_empty_split_is_mentioned(made, scenes, tmp_path, name):
    other = Scenes({})
    other.all = [
        (bag, record, picture if bag == "drive" else lambda: None)
        for bag, record, picture in scenes
    ]
    assert any("0 in val (YOLO has nothing" in line for line in export([name], tmp_path, other))
    said = ": val without a picture that could be used (by recording, val is "
    assert said in (tmp_path / name / "README.md").read_text()
    assert "without a picture" not in (made / name / "README.md").read_text()


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


# -- pairs --------------------------------------------------------------------------------------


def shards(folder):
    return [str(path) for path in sorted(folder.glob("*.tar"))]


def test_pairs_are_read_by_webdataset(made, scenes):
    pictures = {id(record): picture for _, record, picture in scenes}
    dataset = webdataset.WebDataset(shards(made / "pairs"), shardshuffle=False).decode("rgb8")
    found = list(dataset)
    for sample, (bag, record, region) in zip(found, scenes.described(), strict=True):
        assert sample["txt"] == region.description.text
        x1, y1, x2, y2 = sample["json"]["crop_xyxy"]
        assert x1 <= region.box.x1 < region.box.x2 <= x2
        assert y1 <= region.box.y1 < region.box.y2 <= y2
        np.testing.assert_array_equal(
            sample["mask.png"][..., 0] > 0, region.source_mask()[y1:y2, x1:x2]
        )
        crop = pictures[id(record)]()[y1:y2, x1:x2, ::-1]
        assert np.abs(sample["jpg"].astype(int) - crop).mean() < 5
        assert sample["json"]["bag"] == bag
        assert sample["json"]["bbox_xyxy"] == list(region.box)
        assert sample["json"]["label"] == region.description.label
    keys = [sample["__key__"] for sample in found]
    assert len(set(keys)) == len(keys)
    assert all("." not in key for key in keys)


def test_pairs_as_lines_with_crops(made):
    lines = (made / "pairs/pairs.jsonl").read_text(encoding="utf-8").splitlines()
    dataset = webdataset.WebDataset(shards(made / "pairs"), shardshuffle=False)
    for line, sample in zip(lines, dataset, strict=True):
        pair = json.loads(line)
        path = made / "pairs" / pair.pop("file_name")
        assert path.read_bytes() == sample["jpg"]
        assert pair == json.loads(sample["json"])
    crops = [path for path in (made / "pairs/crops").rglob("*") if path.is_file()]
    assert len(crops) == len(lines)


def test_pairs_in_several_shards(scenes, tmp_path, monkeypatch):
    monkeypatch.setattr(pairs, "PAIRS_PER_SHARD", 50)
    export(["pairs"], tmp_path, scenes)
    members, counts = [], []
    for path in shards(tmp_path / "pairs"):
        with tarfile.open(path) as tar:
            members += tar
            counts.append(len(tar.getnames()) // 4)
    assert sum(counts) == len(scenes.described())
    assert counts[:-1] == [50] * (len(counts) - 1)
    assert {(member.mtime, member.uid, member.gid, member.uname, member.mode)
            for member in members} == {(315_532_800, 0, 0, "", 0o644)}  # fmt: skip


@given(st.integers(1, 300), st.integers(1, 300), st.data())
def test_a_crop_has_a_margin_inside_of_the_image(width, height, data):
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    box = pairs.Box(x1, y1, x2, y2)
    crop = with_margin(box, Size(width, height))
    assert 0 <= crop.x1 <= x1 < x2 <= crop.x2 <= width
    assert 0 <= crop.y1 <= y1 < y2 <= crop.y2 <= height
    assert crop.x1 == 0 or x1 - crop.x1 >= max(8, box.width // 10)


# -- labels -------------------------------------------------------------------------------------


def test_a_person_reviews_the_labels(scenes, tmp_path):
    four = labelled(scenes, ["Grey Cup", "wall", "a gray cup", "lamp", "mug"])
    said = export(["coco"], tmp_path, four)
    listed = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8-sig")))
    assert {row["label"] for row in listed} == {"Grey Cup", "wall", "lamp", "mug"}
    assert [int(row["count"]) for row in listed] == sorted(
        (int(row["count"]) for row in listed), reverse=True
    )
    assert all(row["class"] == row["label"] for row in listed)
    assert not any("not reviewed" in line for line in said)

    edited = tmp_path / "map.csv"
    edited.write_text("label;class\r\nmug;cup\r\ngray cup;cup\r\nwall;\r\nbox;box\r\n")
    said = export(["coco", "pairs", "yolo"], tmp_path, four, read(edited))
    (unreviewed,) = [line for line in said if "not reviewed" in line]
    assert re.search(r"1 labels that were not reviewed: lamp \(\d+\)", unreviewed)
    (unwanted,) = [line for line in said if "without a class" in line]
    assert "1 labels without a class: wall" in unwanted
    dataset = opened(tmp_path / "coco/annotations/instances.json")
    # The order of the rows, also of a class that is not in these recordings.
    assert [(each["id"], each["name"]) for each in dataset.loadCats([1, 2])] == [
        (1, "cup"), (2, "box"),
    ]  # fmt: skip
    assert len(dataset.cats) == 2
    wanted = [
        region for _, _, region in four.described() if region.description.label not in
        ("wall", "lamp")
    ]  # fmt: skip
    assert len(dataset.anns) == len(wanted)
    assert {each["category_id"] for each in dataset.anns.values()} == {1}
    lines = (tmp_path / "pairs/pairs.jsonl").read_text().splitlines()
    assert {json.loads(line)["class"] for line in lines} == {"cup"}
    # The list has them all, in the order of the map.
    listed = list(csv.DictReader((tmp_path / "labels.csv").open(encoding="utf-8-sig")))
    assert [(row["label"], row["class"]) for row in listed] == [
        ("mug", "cup"), ("gray cup", "cup"), ("wall", ""), ("box", "box"), ("lamp", "?"),
    ]  # fmt: skip


def test_a_second_run_with_the_same_labels_changes_nothing(scenes, tmp_path):
    """Also where the map is the list itself; and an unreviewed label is no background."""
    left = iter(["mug", *["dog"] * 99])

    def change(record):
        label = next(left)
        for place, region in enumerate(record.scene.regions):
            if region.description.label:
                record = with_words(record, place, label=label)
        return record

    mixed = scenes.changed(change)
    listed = tmp_path / "labels.csv"
    listed.write_text("label,class\nmug,mug\n")
    said = export(["coco", "yolo"], tmp_path, mixed, read(listed))
    found = content(tmp_path)
    assert any("images whose labels were not reviewed" in line for line in said)
    dataset = opened(tmp_path / "coco/annotations/instances.json")
    assert len(dataset.imgs) == 1
    # What is left out is not split.
    assert "val is empty" in (tmp_path / "yolo/README.md").read_text()
    again = tmp_path / "labels_new.csv" if (tmp_path / "labels_new.csv").exists() else listed
    assert export(["coco", "yolo"], tmp_path, mixed, read(again)) == said
    assert content(tmp_path) == found


def test_class_names_that_file_formats_could_misread(scenes, tmp_path):
    hostile = labelled(scenes, [*HOSTILE, "\ud800 half", "two\nlines"])
    export(list(EXPORTS), tmp_path, hostile)
    data = read_dataset(tmp_path / "yolo/data.yaml")
    dataset = opened(tmp_path / "coco/annotations/instances.json")
    names = list(data["names"].values())
    assert names == [dataset.cats[number]["name"] for number in sorted(dataset.cats)]
    assert {
        "yes",
        "null",
        "1.0",
        "- [x]: {y}",
        "näher & <b>",
        "=1+1",
        "\ufffd half",
        "two lines",
    } <= set(names)
    for _, path in pictures_of(data):
        read_labels(path, data["nc"])
    # Applied as it is, it changes nothing.
    before = content(tmp_path)
    export(list(EXPORTS), tmp_path, hostile, read(tmp_path / "labels.csv"))
    assert content(tmp_path) == before


@pytest.fixture
def copied(made, tmp_path):
    """The datasets, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "copied"))


def test_invalid_labels_do_not_change_existing_datasets(copied, scenes, tmp_path):
    before = content(copied)
    edited = tmp_path / "map.csv"
    edited.write_text("label\nmug\n")
    with pytest.raises(LabelsError, match=r"map\.csv, line 1"):
        check(["coco"], copied, edited)
    edited.write_text("label,class\nspaceship,spaceship\n")
    with pytest.raises(ExportError, match=r"--labels: no label of .* has a class; they have small"):
        export(["coco"], copied, scenes, read(edited))
    assert content(copied) == before


# -- all ----------------------------------------------------------------------------------------


def test_the_same_scenes_give_the_same_bytes(made, scenes, tmp_path):
    said = export(list(reversed(EXPORTS)), tmp_path, scenes)
    ours = content(tmp_path)
    for name in EXPORTS:
        expected = content(made / name)
        assert {key[len(name) + 1 :]: value for key, value in ours.items()
                if key.startswith(f"{name}/")} == expected  # fmt: skip
    assert not [path for path in ours if ".part" in path]
    assert str(len(scenes.described())) in next(line for line in said if line.startswith("pairs:"))
    (undescribed,) = [line for line in said if "without a description" in line]
    assert re.search(r"\([1-9]\d* failed, [1-9]\d* pending\)", undescribed)


def test_one_scene_at_a_time_is_in_memory(scenes, tmp_path):
    alive, most = weakref.WeakSet(), 0

    class Fresh:
        def __iter__(self):
            nonlocal most
            for bag, record, picture in scenes:
                fresh = dataclasses.replace(record)
                alive.add(fresh)
                most = max(most, len(alive))
                yield bag, fresh, picture

    export(list(EXPORTS), tmp_path, Fresh())
    # This one, and the one before, which the loop's variables still hold.
    assert most <= 3
    assert len(scenes.all) > 6


def test_images_that_cannot_be_read_are_left_out(scenes, tmp_path):
    other = Scenes({})
    other.all = [*scenes.all]
    bag, record, _ = other.all[0]
    other.all[0] = bag, record, lambda: None
    bag, record, picture = other.all[1]
    other.all[1] = bag, record, lambda: picture()[:50]
    assert other.all[:2] == other.written()[:2]
    said = export(["coco", "yolo"], tmp_path, other)
    assert "left out: 2 images that cannot be read" in said
    dataset = opened(tmp_path / "coco/annotations/instances.json")
    assert len(dataset.imgs) == len(other.written()) - 2
    assert len(list((tmp_path / "yolo/images").rglob("*.jpg"))) == len(dataset.imgs)
    other.all = [(bag, record, lambda: None) for bag, record, _ in other.all]
    with pytest.raises(ExportError, match=r"none of \d+ images can be read"):
        export(["coco"], tmp_path, other)


def test_an_image_without_any_description_is_left_out(scenes, tmp_path):
    empty = dataclasses.replace(scenes.all[0][1].scene, regions=())

    def change(record):
        if record.position == 0:
            return dataclasses.replace(record, scene=empty)
        if record.position == 7:
            regions = [
                region.described(Description(status="pending")) for region in record.scene.regions
            ]
            scene = dataclasses.replace(record.scene, regions=tuple(regions))
            return dataclasses.replace(record, scene=scene)
        return record

    export(["yolo"], tmp_path, scenes.changed(change))
    data = read_dataset(tmp_path / "yolo/data.yaml")
    found = {path.name: labels_of(path).read_text() for _, path in pictures_of(data)}
    assert found["drive_00000000.jpg"] == ""
    assert "drive_00000007.jpg" not in found
    assert "drive_00000014.jpg" in found


def test_recordings_of_nearly_the_same_name(recordings, tmp_path):
    chelsea = recordings["Fahrt 2.5"]
    names = ("run.1", "run_1", "RUN/1", "走", "-" * 300)
    export(["coco", "pairs"], tmp_path, Scenes(dict.fromkeys(names, chelsea)))
    dataset = opened(tmp_path / "coco/annotations/instances.json")
    files = [image["file_name"].lower() for image in dataset.imgs.values()]
    assert len(files) == len(set(files)) == len(names) * len(chelsea.scenes)
    assert len(list((tmp_path / "coco/images").iterdir())) == len(files)


def test_text_that_no_file_can_contain(scenes, tmp_path):
    odd = scenes.changed(
        lambda record: with_words(record, 0, text='Half a \ud800 pair,\nand "quotes".', label="odd")
    )
    export(list(EXPORTS), tmp_path, odd)
    texts = [each["caption"] for each in same_order(
        opened(tmp_path / "coco/annotations/captions.json"))]  # fmt: skip
    assert texts.count('Half a \ufffd pair,\nand "quotes".') == len(odd.written())
    dataset = webdataset.WebDataset(shards(tmp_path / "pairs"), shardshuffle=False).decode()
    assert [sample["txt"] for sample in dataset] == texts


def test_recordings_without_any_description(scenes, tmp_path):
    def silent(record):
        regions = [
            region.described(Description(status="failed", error="no server"))
            for region in record.scene.regions
        ]
        return dataclasses.replace(
            record, scene=dataclasses.replace(record.scene, regions=tuple(regions))
        )

    with pytest.raises(ExportError, match=r"no region is described \(\d+ failed\): nothing can"):
        export(["coco"], tmp_path, scenes.changed(silent))
    with pytest.raises(ExportError, match="no region is described: "):
        export(["coco"], tmp_path, [])
    assert not (tmp_path / "coco").exists()


def test_old_datasets_stay_until_all_new_ones_are_complete(copied, scenes):
    before = content(copied)

    def broken(then):
        for number, example in enumerate(scenes):
            if number == then:
                raise OSError("the disk is gone")
            yield example

    class Breaks:
        rounds = 0

        def __iter__(self):
            self.rounds += 1
            return broken(5 if self.rounds == 2 else None)

    with pytest.raises(OSError, match="gone"):
        export(list(EXPORTS), copied, Breaks())
    assert content(copied) == before
    # As after kill -9.
    (copied / ".replay/coco.part/images").mkdir(parents=True)
    with lock_folder(copied / ".replay"), pytest.raises(FolderInUse):
        export(["coco"], copied, scenes)
    export(["coco"], copied, scenes)
    assert content(copied) == before


def test_a_folder_of_the_user_is_not_replaced(scenes, tmp_path):
    mine = tmp_path / "coco/images/mine.jpg"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"mine")
    with pytest.raises(ExportError, match=r"coco: was not made by --export .* move it away"):
        export(["yolo", "coco"], tmp_path, scenes)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["coco"]
    mine.unlink()
    mine.parent.rmdir()
    export(["coco"], tmp_path, scenes)
    with pytest.raises(ExportError, match="'voc': expected one of coco, yolo, yolo-seg, pairs"):
        export(["voc"], tmp_path, scenes)
    assert Path(tmp_path / "coco/annotations/instances.json").is_file()


def test_targets_that_cannot_be_replaced(tmp_path):
    (tmp_path / "disk").mkdir()
    for target in ("disk", "not_mounted"):
        (tmp_path / "coco").symlink_to(tmp_path / target)
        with pytest.raises(ExportError, match="coco: is a link, and would be replaced by a folder"):
            check(["coco"], tmp_path, None)
        (tmp_path / "coco").unlink()
    with pytest.raises(ExportError, match="cannot be used: File name too long"):
        check(["coco"], tmp_path / ("a" * 300), None)


@pytest.mark.parametrize("how", ["killed", "interrupted"])
def test_an_interruption_during_a_replacement_loses_no_dataset(copied, scenes, monkeypatch, how):
    before = content(copied)
    if how == "killed":
        (copied / "coco").rename(copied / ".replay/coco.part.old.part")
    else:
        replace = Path.replace

        def interrupted(self, target):
            if (self.name, target.name) == ("coco.part", "coco"):
                raise KeyboardInterrupt
            return replace(self, target)

        with monkeypatch.context() as patched, pytest.raises(KeyboardInterrupt):
            patched.setattr(Path, "replace", interrupted)
            export(["coco"], copied, labelled(scenes, ["mug"]))
    # Whatever is exported next.
    export(["yolo"], copied, scenes)
    assert content(copied) == before
