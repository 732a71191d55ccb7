"""The split of YOLO's datasets into images for training and for validation."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.replay.datasets import export
from deep_perception.replay.datasets.split import ImageTimes
from support.datasets import Scenes
from support.yolo_reader import read_dataset

pytest.importorskip("pycocotools.coco", reason="needs pycocotools (pip)")


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
