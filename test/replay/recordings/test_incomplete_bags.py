"""Recordings that a crash leaves: files without metadata, truncated files and journals."""

import itertools
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from deep_perception.replay.recordings.bags import BagError, Recording
from support import bag_files, bags
from support.bags import START_NS, TOPIC
from support.recordings import one_line, pixels, read, seen


def test_without_metadata_the_files_in_the_folder_are_read(tmp_path):
    parts = [pixels((TOPIC, number)) for number in range(12)]
    path = bags.write_split(tmp_path / "bag", parts)
    whole, _ = read(path)
    (path / "metadata.yaml").unlink()
    (path / "notes.txt").write_text("not a recording")
    frames, (warning,) = read(path)
    assert seen(frames) == seen(whole)
    assert warning == (
        "bag: there is no metadata.yaml, as after a crash; the 12 files in the folder are read"
    )


def test_files_without_metadata_go_by_their_numbers(tmp_path):
    path = bags.write_split(tmp_path / "bag", [pixels((TOPIC, 0)) for _ in range(12)])
    (path / "metadata.yaml").unlink()
    with Recording(path) as recording:
        assert [file.name for file in recording.files] == [f"part_{n}.mcap" for n in range(12)]


def test_a_recording_with_truncated_metadata_is_read(tmp_path):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(3))
    whole, _ = read(path)
    bag_files.truncate(path / "metadata.yaml", 0.3)
    frames, (warning,) = read(path)
    assert seen(frames) == seen(whole)
    assert warning.startswith("bag: metadata.yaml cannot be read (")


def test_a_missing_file_costs_only_its_own_messages(tmp_path):
    path = bags.write_split(tmp_path / "bag", [pixels((TOPIC, number)) for number in range(3)])
    (path / "part_1.mcap").unlink()
    frames, warnings = read(path)
    assert [f.log_ns - START_NS for f in frames] == [0, 2]
    assert warnings == ("bag: part_1.mcap of metadata.yaml is missing",)


def test_names_with_digits_that_are_no_numbers(tmp_path):
    path = bags.write_split(tmp_path / "bag", [pixels((TOPIC, number)) for number in range(3)])
    (path / "metadata.yaml").unlink()
    for number, name in enumerate(("1²2", "01", "1")):
        (path / f"part_{number}.mcap").rename(path / f"{name}.mcap")
    frames, _ = read(path)
    assert [f.log_ns - START_NS for f in frames] == [0, 1, 2]


def test_an_empty_file_does_not_affect_the_others(tmp_path):
    path = bags.write_split(tmp_path / "bag", [pixels((TOPIC, number)) for number in range(2)])
    (path / "metadata.yaml").unlink()
    (path / "part_2.mcap").touch()
    frames, warnings = read(path)
    assert [f.log_ns - START_NS for f in frames] == [0, 1]
    assert warnings[1] == "part_2.mcap: the file is empty"


WHOLE = [{"compression": "zstd"}, {"compression": "lz4"}, {}, {"chunked": False},
         {"indexed": False, "compression": "zstd"}, {"finished": False}]  # fmt: skip


@settings(max_examples=60)
@given(st.sampled_from(WHOLE), st.floats(0.0, 1.0, exclude_max=True))
def test_complete_messages_of_a_truncated_file_are_read(tmp_path_factory, how, keep):
    folder = tmp_path_factory.mktemp("broken")
    recorded = bags.together(bags.camera(bags.moving_scene(8, (40, 30))), bags.words(8))
    path = bags.write(folder / "bag.mcap", recorded, storage="file", chunk_size=9000, **how)
    whole, _ = read(path)
    size = path.stat().st_size
    bag_files.truncate(path, int(size * keep))
    try:
        frames, warnings = read(path)
    except BagError as error:
        # Not even one image is in it.
        assert "\n" not in str(error) and keep < 0.5
    else:
        assert seen(frames) == seen(whole)[: len(frames)]
        # What the end took is at most the images of a chunk and what lies after it.
        lost = len(whole) - len(frames)
        assert lost <= (1 - keep) * size / (40 * 30 * 3 * 0.3) + 3
        if lost:
            (warning,) = warnings
            assert "bag.mcap: breaks off at byte " in warning and "messages were saved" in warning
    shutil.rmtree(folder)


def test_a_warning_says_where_a_file_is_truncated(tmp_path):
    path = bags.write(
        tmp_path / "bag.mcap", bags.camera(bags.moving_scene(8)), storage="file", finished=False,
        chunk_size=1,
    )  # fmt: skip
    end = path.stat().st_size
    bag_files.truncate(path, end - 1000)
    frames, (warning,) = read(path)
    assert len(frames) == 7
    last_chunk = bag_files.chunk_offsets(path)[-1] - 9 - 32 - 8
    assert warning == (
        f"bag.mcap: breaks off at byte {last_chunk} of {end - 1000}, as after a crash; 7 messages "
        "were saved, the last of them 0.6 s after the first"
    )


def test_complete_messages_of_a_truncated_chunk_are_read(tmp_path):
    for compression in ("", "zstd", "lz4"):
        path = tmp_path / f"{compression}.mcap"
        noise = np.random.default_rng(0).integers(0, 256, (6, 100, 100, 3), np.uint8)
        recorded = bags.camera(noise)
        bags.write(path, recorded, storage="file", compression=compression, chunk_size=10**6)
        assert len(bag_files.chunk_offsets(path)) == 1
        bag_files.truncate(path, 0.7)
        frames, (warning,) = read(path)
        assert len(frames) >= 3 and f"{len(frames)} messages were saved" in warning
        np.testing.assert_array_equal(frames[2].image(), noise[2])


def test_a_recorder_that_is_killed_leaves_a_recording(tmp_path):
    path = tmp_path / "bag" / "bag_0.mcap"
    script = (
        "import itertools; from support import bags\n"
        "frames = itertools.chain.from_iterable(bags.moving_scene(20) for _ in itertools.count())\n"
        f"bags.write({str(path)!r}, bags.camera(frames), storage='file')\n"
    )
    recorder = subprocess.Popen([sys.executable, "-c", script], cwd=Path(__file__).parents[2])
    try:
        while not path.exists() or path.stat().st_size < 2_000_000:
            assert recorder.poll() is None
            time.sleep(0.05)
    finally:
        recorder.send_signal(signal.SIGKILL)
        recorder.wait()
    frames, (no_metadata, warning) = read(path.parent)
    assert "there is no metadata.yaml" in no_metadata
    assert len(frames) > 30 and f"{len(frames)} messages were saved" in warning
    scene = itertools.cycle(bags.moving_scene(20))
    for frame, picture in zip(frames, scene, strict=False):
        np.testing.assert_array_equal(frame.image(), picture)


def test_readable_messages_of_a_truncated_database_are_read(tmp_path):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(30), storage="sqlite3")
    whole, _ = read(path)
    bag_files.truncate(bag_files.storage_file(path), 0.6)
    frames, warnings = read(path)
    assert 10 < len(frames) < 30
    assert [f.data for f in frames] == [f.data for f in whole[: len(frames)]]
    assert any("bag.db3: breaks off (database disk image is malformed)" in w for w in warnings)


@pytest.mark.parametrize("mode", ["WAL", "DELETE"])
def test_the_journal_files_of_a_killed_recorder_are_used(tmp_path, mode):
    source = bags.write_bag(tmp_path / "source", bags.moving_scene(4), storage="sqlite3")
    whole, _ = read(source)
    database = bag_files.storage_file(source)
    writing = sqlite3.connect(database)
    writing.execute(f"PRAGMA journal_mode={mode}")
    writing.execute("PRAGMA cache_size=1")
    with writing:
        # Committed, but in WAL mode not in the file yet.
        writing.execute("UPDATE messages SET timestamp = timestamp + 1")
    # Begun and never committed; without WAL much of it is in the file, to be taken back.
    writing.execute("UPDATE messages SET timestamp = 0, data = x'00'")
    crashed = tmp_path / "crashed"
    shutil.copytree(source, crashed)
    writing.rollback()
    writing.close()
    before = {file: file.read_bytes() for file in crashed.iterdir()}
    assert len(before) > 2
    frames, warnings = read(crashed)
    assert [f.data for f in frames] == [f.data for f in whole]
    assert [f.log_ns for f in frames] == [f.log_ns + 1 for f in whole]
    assert {file: file.read_bytes() for file in crashed.iterdir()} == before and warnings == ()


@pytest.mark.parametrize("keep", [0.99, 0.5, 5000])
def test_a_ros_1_bag_that_was_not_closed_is_refused_with_advice(tmp_path, keep):
    path = bags.write_bag(tmp_path / "old.bag", bags.moving_scene(40), storage="ros1")
    bag_files.truncate(path, keep)
    assert "cannot be read as a ROS 1 bag" in one_line(path)
    assert "rosbag reindex" in one_line(path)
