"""What all datasets have in common: the scenes that are exported and those that are left out."""

import dataclasses
import re
import weakref

import pytest

from deep_perception.regions import Description
from deep_perception.replay.datasets import EXPORTS, ExportError, export
from support.datasets import Scenes, content, opened, pictures_of, same_order, shards
from support.photograph_scenes import with_words
from support.yolo_reader import labels_of, read_dataset

pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")
webdataset = pytest.importorskip("webdataset", reason="needs webdataset (pip)")


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
    assert texts.count('Half a \ufffd pair, and "quotes".') == len(odd.written())
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
