"""Reading a recording takes little memory and leaves no open files or copies."""

import itertools
import tracemalloc
from pathlib import Path

import numpy as np
import pytest
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter

from deep_perception.replay.recordings.bags import Recording
from support import bags
from support.bags import START_NS, TOPIC
from support.recordings import SUFFIX, read

DESCRIPTORS = Path("/proc/self/fd")


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1", "unindexed"])
def test_memory_does_not_grow_with_the_recording(tmp_path, storage):
    recorded = bags.camera(itertools.repeat(np.zeros((480, 640, 3), np.uint8), 200))
    how = {
        "mcap": {"storage": "mcap", "compression": "zstd"},
        "sqlite3": {"storage": "sqlite3"},
        "ros1": {"storage": "ros1", "compression": "lz4"},
        "unindexed": {"storage": "file", "compression": "zstd", "finished": False},
    }[storage]
    path = bags.write(tmp_path / f"bag{SUFFIX.get(how['storage'], '')}", recorded, **how)
    tracemalloc.start()
    try:
        with Recording(path) as recording:
            count = sum(len(f.data) > 900_000 for f in recording.frames([TOPIC]))
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # 184 MB were read.
    assert count == 200 and peak < 20_000_000


def test_a_large_attachment_is_skipped(tmp_path):
    with (tmp_path / "bag.mcap").open("wb") as file:
        writer = McapWriter(file, index_types=IndexType.NONE, use_statistics=False)
        writer.start(profile="ros2")
        text = bags.STORE.generate_msgdef(bags.IMAGE, ros_version=2)[0]
        schema = writer.register_schema(bags.IMAGE, "ros2msg", text.encode())
        channel = writer.register_channel(TOPIC, "cdr", schema)
        for number in range(2):
            data = bags.image(np.full((2, 2, 3), number, np.uint8), START_NS)
            writer.add_message(channel, START_NS + number, data, START_NS)
            writer.flush()
            writer.add_attachment(0, 0, "map.bin", "application/octet-stream", bytes(30_000_000))
        writer.finish()
    tracemalloc.start()
    try:
        frames, warnings = read(tmp_path / "bag.mcap")
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert [int(f.image()[0, 0, 0]) for f in frames] == [0, 1]
    assert warnings == () and peak < 10_000_000


def test_files_are_closed_and_copies_removed(tmp_path, monkeypatch):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(2), storage="sqlite3",
                          compression="file")  # fmt: skip
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(scratch))
    opened = len(list(DESCRIPTORS.iterdir())) if DESCRIPTORS.exists() else 0
    with Recording(path) as recording:
        assert len(list(scratch.iterdir())) == 1
        assert len(list(recording.frames([TOPIC]))) == 2
    assert list(scratch.iterdir()) == []
    if opened:
        assert len(list(DESCRIPTORS.iterdir())) == opened
