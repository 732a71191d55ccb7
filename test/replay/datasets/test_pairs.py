"""Datasets of pairs of a crop and its description, read by webdataset."""

import json
import tarfile

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.masks import Size
from deep_perception.replay.datasets import export, pairs
from deep_perception.replay.datasets.pairs import with_margin
from support.datasets import shards

pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")
webdataset = pytest.importorskip("webdataset", reason="needs webdataset (pip)")


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
