"""The bag of a replay has the same bytes each time and replaces the previous one."""

import dataclasses
import itertools
import os
import subprocess
import sys
import tracemalloc

import pytest
from rosbags.highlevel import AnyReader

from deep_perception.replay.journal.scenes import to_line
from deep_perception.replay.outputs.bag import write_bag
from deep_perception.replay.recordings.bags import BagError, Recording
from deep_perception.settings import OutputSettings
from support import bags
from support.bags import TOPIC
from support.replay_bags import ROOT, contents, look, write


def test_the_bytes_are_the_same_wherever_and_whenever_it_is_made(drive, tmp_path):
    path, records = drive
    here = contents(write(path, tmp_path / "here", records))
    (tmp_path / "scenes.jsonl").write_text("".join(f"{to_line(each)}\n" for each in records))
    script = f"""
import pathlib
from deep_perception.replay.outputs.bag import write_bag
from deep_perception.replay.recordings.bags import Recording
from deep_perception.replay.journal.scenes import from_line
from deep_perception.settings import OutputSettings
with Recording(pathlib.Path({str(path)!r})) as recording, open("scenes.jsonl") as lines:
    write_bag(pathlib.Path("there") / "another name", recording, [{TOPIC!r}],
              map(from_line, lines), images="all", settings=OutputSettings())
"""
    (tmp_path / "there").mkdir()
    paths = os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")])
    environment = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo", "PYTHONPATH": paths}
    subprocess.run([sys.executable, "-c", script], cwd=tmp_path, env=environment, check=True)
    assert contents(tmp_path / "there" / "another name") == here


def test_a_bag_replaces_the_previous_one(drive, tmp_path):
    path, records = drive
    folder = write(path, tmp_path / "out", records[:1])
    (folder / "left over").touch()
    first = contents(folder)
    with pytest.raises(BagError, match=rf"has no image {records[1].position} of {TOPIC} at 5 ns"):
        write(path, folder, [records[0], dataclasses.replace(records[1], log_ns=5)])
    assert contents(folder) == first
    write(path, folder, records)
    assert sorted(contents(folder)) == ["bag.mcap", "metadata.yaml"]
    assert [file.name for file in tmp_path.iterdir()] == ["out"]


@pytest.mark.parametrize("position", [45, 10_000, -1])
def test_scenes_of_another_recording_are_refused(drive, tmp_path, position):
    path, records = drive
    with pytest.raises(BagError, match="the scenes are of another recording, or of other topics"):
        write(path, tmp_path / "out", [dataclasses.replace(records[-1], position=position)])
    assert list(tmp_path.iterdir()) == []


@pytest.mark.slow
def test_memory_does_not_grow_with_the_bag(tmp_path):
    picture = next(bags.moving_scene(1, (640, 480)))
    path = bags.write(
        tmp_path / "bag", bags.camera(itertools.repeat(picture, 100)), compression="zstd"
    )
    (first, *_) = look(path)
    tracemalloc.start()
    try:
        with Recording(path) as recording:
            frames = recording.frames([TOPIC])
            records = (
                dataclasses.replace(first, position=frame.position, log_ns=frame.log_ns)
                for frame in itertools.islice(frames, 0, None, 20)
            )
            write_bag(
                tmp_path / "out",
                recording,
                [TOPIC],
                records,
                images="all",
                settings=OutputSettings(),
            )
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # The images have 92 MB.
    assert peak < 30_000_000
    with AnyReader([tmp_path / "out"]) as reader:
        assert reader.message_count == 100 + 3 * 5
