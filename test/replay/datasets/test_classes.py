"""The classes of datasets follow the labels that a person has reviewed."""

import csv
import json
import re

import pytest

from deep_perception.replay.datasets import EXPORTS, ExportError, check, export
from deep_perception.replay.datasets.labels_csv import LabelsError, read
from support.datasets import content, labelled, opened, pictures_of
from support.photograph_scenes import with_words
from support.yolo_reader import read_dataset, read_labels

pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")
HOSTILE = ("yes", "null", "1.0", "- [x]: {y}", "'", '"', "#1", "näher & <b>", "\u202e", "=1+1")


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
