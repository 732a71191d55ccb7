"""Recordings of every kind, whole and broken: their frames, or a line that says what is wrong."""

import itertools
import re
import shlex
import shutil
import signal
import sqlite3
import subprocess
import sys
import time
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcap.writer import IndexType
from mcap.writer import Writer as McapWriter
from rosbags import rosbag1

from deep_perception.encodings import EncodingError
from deep_perception.replay import INSTALL
from deep_perception.replay.recordings.bags import BagError, RecordedFrame, Recording
from deep_perception.replay.recordings.storage.mcap_parts import McapPart
from support import bag_files, bags
from support.bags import START_NS, TOPIC

KINDS = [("mcap", ""), ("mcap", "zstd"), ("mcap", "file"), ("mcap", "message"), ("sqlite3", ""),
         ("sqlite3", "file"), ("sqlite3", "message"), ("file", ""), ("file", "lz4"),
         ("file", "zstd"), ("ros1", ""), ("ros1", "bz2"), ("ros1", "lz4")]  # fmt: skip
SUFFIX = {"file": ".mcap", "ros1": ".bag"}
DESCRIPTORS = Path("/proc/self/fd")
LEFT, RIGHT = "/left/image_raw", "/right/image_raw"


def seen(frames):
    """All that a frame says."""
    return [(f.topic, f.type, f.position, f.log_ns, f.stamp_ns, f.frame_id, f.data) for f in frames]


def read(path, **limits):
    """(frames of all image topics, warnings) of a recording."""
    with Recording(path) as recording:
        return list(recording.frames(list(recording.image_topics), **limits)), recording.warnings


def one_line(path):
    """What a recording that cannot be read says."""
    with pytest.raises(BagError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


def pixels(*values):
    """Messages whose log times are the values, each a picture of one grey value: its number."""
    return [
        bags.Recorded(topic, bags.IMAGE, START_NS + at,
                      bags.image(np.full((2, 2, 3), number, np.uint8), START_NS + at))
        for number, (topic, at) in enumerate(values)
    ]  # fmt: skip


# -- whole recordings --------------------------------------------------------------------------


@pytest.fixture(scope="module")
def scene():
    """A camera, and topics that are no images, one of a type that is in its bag only."""
    return bags.together(
        bags.camera(bags.moving_scene(12)), bags.words(9), bags.wheels(3), bags.words(1, "/late")
    )


@pytest.mark.parametrize(("storage", "compression"), KINDS)
def test_every_kind_of_recording_has_the_same_frames(tmp_path, scene, storage, compression):
    written = tmp_path / f"bag{SUFFIX.get(storage, '')}"
    bags.write(written, scene, storage=storage, compression=compression)
    path = written.rename(tmp_path / f"drive 7#?%20{written.suffix}")
    with Recording(path) as recording:
        assert recording.name == "drive 7#?%20"
        assert recording.image_topics == {TOPIC: (bags.IMAGE, 12)}
        assert recording.message_count == 25
        assert (recording.start_ns, recording.end_ns) == (START_NS, START_NS + 1_101_000_000)
        frames = list(recording.frames([TOPIC]))
        assert recording.warnings == ()
    images = [each for each in scene if each.topic == TOPIC]
    stamps = [START_NS + number * 100_000_000 for number in range(12)]
    assert seen(frames) == [
        (TOPIC, bags.IMAGE, number, image.log_ns, stamp, bags.FRAME_ID, image.data)
        for number, (image, stamp) in enumerate(zip(images, stamps, strict=True))
    ]
    for frame, picture in zip(frames, bags.moving_scene(12), strict=True):
        np.testing.assert_array_equal(frame.image(), picture)


@pytest.mark.parametrize("storage", ["mcap", "ros1"])
def test_compressed_images_are_decoded(tmp_path, storage):
    path = bags.write_bag(
        tmp_path / f"bag{SUFFIX.get(storage, '')}",
        bags.moving_scene(2),
        topic="/camera/compressed",
        compressed_images=True,
        storage=storage,
    )
    frames, _ = read(path)
    assert [frame.type for frame in frames] == [bags.COMPRESSED] * 2
    for frame, picture in zip(frames, bags.moving_scene(2), strict=True):
        jpeg = cv2.imdecode(cv2.imencode(".jpg", picture)[1], cv2.IMREAD_COLOR)
        np.testing.assert_array_equal(frame.image(), jpeg)


def test_the_metadata_names_the_recording_too(tmp_path):
    folder = bags.write_bag(tmp_path / "bag", bags.moving_scene(2))
    with Recording(folder / "metadata.yaml") as recording:
        assert (recording.path, recording.name) == (folder, "bag")


def test_a_frame_without_a_stamp_has_the_time_of_its_recording(tmp_path):
    message = bags.image(np.zeros((2, 2, 3), np.uint8), 0)
    path = bags.write(tmp_path / "bag", [bags.Recorded(TOPIC, bags.IMAGE, START_NS, message)])
    assert [(f.stamp_ns, f.frame_id) for f in read(path)[0]] == [(START_NS, bags.FRAME_ID)]


def test_big_endian_messages_are_read(tmp_path):
    kind = bags.STORE.deserialize_cdr(bags.image(next(bags.moving_scene(1)), 7), bags.IMAGE)
    data = bytes(bags.STORE.serialize_cdr(kind, bags.IMAGE, little_endian=False))
    path = bags.write(tmp_path / "bag", [bags.Recorded(TOPIC, bags.IMAGE, 9, data)])
    ((frame,), _) = read(path)
    assert (frame.stamp_ns, frame.frame_id, frame.data) == (7, bags.FRAME_ID, data)
    np.testing.assert_array_equal(frame.image(), next(bags.moving_scene(1)))


def test_ros_1_messages_in_an_mcap_file_are_read(tmp_path):
    cdr = bags.image(next(bags.moving_scene(1)), START_NS)
    with (tmp_path / "converted.mcap").open("wb") as file:
        writer = McapWriter(file)
        writer.start(profile="ros1")
        text = bags.ROS1.generate_msgdef(bags.IMAGE)[0]
        schema = writer.register_schema("sensor_msgs/Image", "ros1msg", text.encode())
        channel = writer.register_channel(TOPIC, "ros1", schema)
        writer.add_message(channel, 5, bytes(bags.STORE.cdr_to_ros1(cdr, bags.IMAGE)), 5)
        writer.finish()
    ((frame,), warnings) = read(tmp_path / "converted.mcap")
    assert (frame.type, frame.data, warnings) == (bags.IMAGE, cdr, ())


def test_what_other_topics_hold_does_not_matter(tmp_path, scene):
    nonsense = {bags.CUSTOM: "this is / no definition [", "std_msgs/msg/String": "wrong_msgs/A b"}
    right, _ = read(bags.write(tmp_path / "right", scene))
    wrong, warnings = read(bags.write(tmp_path / "wrong", scene, definitions=nonsense))
    assert seen(wrong) == seen(right) and warnings == ()


def test_a_bag_without_definitions_is_read(tmp_path, scene):
    path = bags.write(tmp_path / "humble", scene, storage="sqlite3")
    whole, _ = read(path)
    bag_files.forget_definitions(bag_files.storage_file(path))
    frames, warnings = read(path)
    assert seen(frames) == seen(whole) and warnings == ()


def test_a_topic_is_chosen(tmp_path):
    both = bags.together(
        bags.camera(bags.moving_scene(3), LEFT),
        bags.camera(bags.moving_scene(3), RIGHT, compressed_images=True, delay_ns=2_000_000),
        bags.words(3),
    )
    with Recording(bags.write(tmp_path / "bag", both)) as recording:
        assert recording.image_topics == {LEFT: (bags.IMAGE, 3), RIGHT: (bags.COMPRESSED, 3)}
        assert [f.position for f in recording.frames([RIGHT])] == [0, 1, 2]
        together = list(recording.frames([RIGHT, LEFT]))
        assert [f.topic for f in together] == [LEFT, RIGHT] * 3
        assert [f.position for f in together] == list(range(6))
        with pytest.raises(BagError) as caught:
            recording.frames(["/lefd"])
        assert "'/lefd' is no image topic of it; it has " + LEFT in str(caught.value)
        with pytest.raises(BagError, match=r"/said \(std_msgs/msg/String\) is no image topic"):
            recording.frames(["/said", LEFT])


def test_an_error_names_the_first_of_many_topics(tmp_path):
    many = pixels(*((f"/camera_{number:02}", number) for number in range(60)))
    with Recording(bags.write(tmp_path / "bag", many)) as recording:
        with pytest.raises(BagError) as caught:
            recording.frames(["/lefd"])
        assert str(caught.value).endswith("/camera_19, 40 more")


# -- order -------------------------------------------------------------------------------------

HOW = [{"storage": "file", "chunk_size": 100}, {"storage": "file", "chunk_size": 700},
       {"storage": "file", "chunked": False}, {"storage": "file", "indexed": False},
       {"storage": "file", "chunk_size": 300, "compression": "lz4"}, {"storage": "sqlite3"},
       {"storage": "ros1"}]  # fmt: skip
# Few different times and two topics: many that are the same.
STAMPS = st.lists(
    st.tuples(st.sampled_from([LEFT, RIGHT]), st.integers(0, 9)), min_size=1, max_size=30
)


@settings(max_examples=60)
@given(STAMPS, st.sampled_from(HOW), st.integers(-1, 10), st.integers(-1, 10))
def test_frames_are_sorted_by_time_and_topic_from_any_start(
    tmp_path_factory, values, how, start, stop
):
    folder = tmp_path_factory.mktemp("order")
    path = bags.write(folder / f"bag{SUFFIX.get(how['storage'], '')}", pixels(*values), **how)
    expected = sorted(range(len(values)), key=lambda number: (values[number][1], values[number][0]))
    frames, warnings = read(path)
    assert [int(f.image()[0, 0, 0]) for f in frames] == expected
    assert [f.position for f in frames] == list(range(len(values)))
    assert warnings == ()
    part, _ = read(path, start_ns=START_NS + start, stop_ns=START_NS + stop)
    assert seen(part) == seen(f for f in frames if start <= f.log_ns - START_NS < stop)
    shutil.rmtree(folder)


@settings(max_examples=30)
@given(st.lists(STAMPS, min_size=2, max_size=4), st.sampled_from(["mcap", "sqlite3"]))
def test_frames_of_overlapping_files_are_sorted(tmp_path_factory, parts, storage):
    folder = tmp_path_factory.mktemp("split")
    path = bags.write_split(folder / "bag", [pixels(*part) for part in parts], storage=storage)
    expected = sorted(
        (at, topic, file, number)
        for file, part in enumerate(parts)
        for number, (topic, at) in enumerate(part)
    )
    frames, warnings = read(path)
    found = [(f.log_ns - START_NS, f.topic, int(f.image()[0, 0, 0])) for f in frames]
    assert found == [(at, topic, number) for at, topic, _, number in expected]
    assert warnings == ()
    shutil.rmtree(folder)


def test_reading_one_frame_does_not_read_the_whole_recording(tmp_path, monkeypatch):
    number, minute = 200, 60_000_000_000
    values = [(TOPIC, place * minute) for place in range(number)]
    # A chunk for each; two are in the wrong order, and one carries the time of another day.
    values[20], values[21] = values[21], values[20]
    values[40] = TOPIC, 3 * number * minute
    path = bags.write(tmp_path / "bag.mcap", pixels(*values), storage="file", chunk_size=10)
    asked = []
    for name in ("before", "read"):
        real = getattr(McapPart, name)

        def counted(part, *arguments, real=real):
            asked.append(part)
            return real(part, *arguments)

        monkeypatch.setattr(McapPart, name, counted)
    with Recording(path) as recording:
        frames = list(recording.frames([TOPIC]))
        assert len({part.offset for part in asked}) == number
        asked.clear()
        for frame in frames:
            found = next(recording.frames([TOPIC], frame.log_ns))
            assert seen([found]) == seen([frame])
    assert len(asked) < 5 * number


@pytest.mark.parametrize(("storage", "compression"), KINDS)
def test_the_same_recording_is_read_twice_at_once(tmp_path, scene, storage, compression):
    path = tmp_path / f"bag{SUFFIX.get(storage, '')}"
    bags.write(path, scene, storage=storage, compression=compression)
    with Recording(path) as recording:
        first = recording.frames([TOPIC])
        pairs = list(zip(first, recording.frames([TOPIC]), strict=True))
    assert len(pairs) == 12 and all(seen([a]) == seen([b]) for a, b in pairs)


# -- files that a crash or a bad disk leaves ------------------------------------------------------


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


@pytest.mark.parametrize("compression", ["", "lz4", "zstd"])
@pytest.mark.parametrize("indexed", [True, False])
def test_a_damaged_chunk_costs_only_its_own_messages(tmp_path, compression, indexed):
    path = bags.write(
        tmp_path / "bag.mcap", bags.camera(bags.moving_scene(9)), storage="file",
        compression=compression, indexed=indexed, chunk_size=60_000,
    )  # fmt: skip
    whole, _ = read(path)
    chunks = bag_files.chunk_offsets(path)
    assert len(chunks) == 4 or len(chunks) == 5
    bag_files.damage(path, chunks[1] + 2000)
    frames, (warning,) = read(path)
    lost = len(whole) - len(frames)
    assert lost == 2
    assert "bag.mcap: the chunk at byte " in warning and " is damaged (" in warning
    assert [f.data for f in frames] == [f.data for f in whole[:2] + whole[4:]]
    if indexed:
        # The index knows them: the others keep their places.
        assert "2 messages in it are lost" in warning
        assert [f.position for f in frames] == [f.position for f in whole[:2] + whole[4:]]
    for start in (frame.log_ns for frame in whole):
        part, _ = read(path, start_ns=start)
        assert seen(part) == seen(f for f in frames if f.log_ns >= start)


def test_messages_with_a_wrong_index_are_read(tmp_path):
    path = bags.write(tmp_path / "bag.mcap", bags.camera(bags.moving_scene(9)), storage="file")
    whole, _ = read(path)
    summary = path.read_bytes().rindex(b"sensor_msgs/msg/Image")
    size = path.stat().st_size
    for at in range(summary - 40, size - 40, 23):
        copy = Path(shutil.copyfile(path, tmp_path / "copy.mcap"))
        bag_files.damage(copy, at, 8)
        assert [f.data for f in read(copy)[0]] == [f.data for f in whole]


@settings(max_examples=150)
@given(
    kind=st.sampled_from(KINDS[:3] + KINDS[4:5] + KINDS[7:]),
    places=st.lists(st.floats(0.0, 1.0, exclude_max=True), min_size=1, max_size=8),
    count=st.integers(1, 40),
    cut=st.sampled_from([None, None, 0.9, 0.5]),
)
def test_damage_anywhere_gives_a_warning_or_changes_nothing(
    tmp_path_factory, kind, places, count, cut
):
    """Whatever bytes a file has: frames, or a BagError; of a frame a picture, or EncodingError."""
    storage, compression = kind
    folder = tmp_path_factory.mktemp("damage")
    recorded = bags.together(bags.camera(bags.moving_scene(4, (40, 30))), bags.wheels(4))
    path = folder / f"bag{SUFFIX.get(storage, '')}"
    small = {"chunk_size": 5000} if storage == "file" else {}
    bags.write(path, recorded, storage=storage, compression=compression, **small)
    file = bag_files.storage_file(path) if path.is_dir() else path
    size = file.stat().st_size
    for place in places:
        bag_files.damage(file, int(place * size), count)
    if cut:
        bag_files.truncate(file, cut)
    try:
        frames, warnings = read(path)
    except BagError as error:
        assert "\n" not in str(error)
    else:
        assert all("\n" not in warning for warning in warnings)
        for frame in frames:
            try:
                picture = frame.image()
            except EncodingError as error:
                assert str(error)
            else:
                assert picture.dtype == np.uint8 and picture.shape[2] == 3
    shutil.rmtree(folder)


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


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["bz2", "lz4"])
@pytest.mark.parametrize("places", [[0.7], [0.2, 0.21, 0.6]])
def test_damage_in_a_ros_1_bag_costs_only_what_is_damaged(tmp_path, compression, places):
    path = bags.write_bag(
        tmp_path / "old.bag", bags.moving_scene(72), storage="ros1", compression=compression
    )
    whole, _ = read(path)
    for place in places:
        bag_files.damage(path, int(path.stat().st_size * place), 2000)
    frames, warnings = read(path)
    assert len(frames) + len(warnings) == 72
    # Each of its chunks has about 18 messages.
    assert len(warnings) < 20 * len(places) and "old.bag: is damaged (" in warnings[0]
    by_position = {f.position: f for f in whole}
    assert all(f.data == by_position[f.position].data for f in frames)
    for start in (f.log_ns for f in whole[::18]):
        part, _ = read(path, start_ns=start)
        assert seen(part) == seen(f for f in frames if f.log_ns >= start)


def test_reading_a_ros_1_bag_with_too_much_damage_stops(tmp_path):
    path = bags.write_bag(
        tmp_path / "old.bag", bags.moving_scene(400), storage="ros1", compression="lz4"
    )
    whole, _ = read(path)
    with rosbag1.Reader(path) as reader:
        chunks = [chunk.datapos for chunk in reader.chunks.values()]
    for offset in chunks[1:]:
        bag_files.damage(path, offset + 1000, 2000)
    frames, warnings = read(path)
    assert [f.data for f in frames] == [f.data for f in whole[: len(frames)]] and frames
    assert "is damaged in 100 places" in warnings[-1]
    assert f"; {400 - 100 - len(frames)} messages from " in warnings[-1]


# -- messages that are no pictures ----------------------------------------------------------------


def frame(data, kind=bags.IMAGE):
    return RecordedFrame(
        topic=TOPIC, type=kind, position=0, log_ns=0, stamp_ns=0, frame_id="", data=data
    )  # fmt: skip


@given(st.binary(max_size=200), st.sampled_from([bags.IMAGE, bags.COMPRESSED]))
def test_bytes_that_are_no_message_raise_an_encoding_error(data, kind):
    with pytest.raises(EncodingError, match=rf"{len(data)} bytes are no {kind} \(|cannot be|is "):
        frame(data, kind).image()


@settings(max_examples=200)
@given(st.data())
def test_a_damaged_image_is_a_picture_or_an_encoding_error(data):
    kind = data.draw(st.sampled_from([bags.IMAGE, bags.COMPRESSED]))
    make = bags.image if kind == bags.IMAGE else bags.compressed_image
    message = bytearray(make(next(bags.moving_scene(1, (16, 12))), START_NS))
    for _ in range(data.draw(st.integers(1, 4))):
        message[data.draw(st.integers(0, len(message) - 1))] = data.draw(st.integers(0, 255))
    message = message[: data.draw(st.integers(len(message) // 2, len(message)))]
    try:
        picture = frame(bytes(message), kind).image()
    except EncodingError as error:
        assert str(error)
    else:
        assert picture.dtype == np.uint8 and picture.shape[2] == 3 and picture.size


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "ros1"])
def test_one_broken_message_costs_only_itself(tmp_path, storage):
    recorded = list(bags.camera(bags.moving_scene(3)))
    odd = bags.cdr(
        bags.IMAGE, header=bags.header(START_NS), height=2, width=2, encoding="yuv9000",
        is_bigendian=0, step=6, data=np.zeros(12, np.uint8),
    )  # fmt: skip
    recorded[1] = recorded[1]._replace(data=odd)
    frames, warnings = read(
        bags.write(tmp_path / f"bag{SUFFIX.get(storage, '')}", recorded, storage=storage)
    )
    assert len(frames) == 3 and warnings == ()
    with pytest.raises(EncodingError, match="encoding 'yuv9000' is not supported"):
        frames[1].image()
    assert frames[2].image().shape == (120, 160, 3)


def test_a_broken_ros_1_message_keeps_its_position(tmp_path):
    good = bytes(bags.STORE.cdr_to_ros1(bags.image(np.ones((2, 2, 3), np.uint8), 5), bags.IMAGE))
    with rosbag1.Writer(tmp_path / "old.bag") as writer:
        connection = writer.add_connection(TOPIC, bags.IMAGE, typestore=bags.ROS1)
        for number, data in enumerate([good, good[:30], good]):
            writer.write(connection, number, data)
    frames, _ = read(tmp_path / "old.bag")
    assert [(f.position, f.stamp_ns, len(f.data)) for f in frames] == [
        (0, 5, len(frames[0].data)), (1, 1, 0), (2, 5, len(frames[0].data))
    ]  # fmt: skip
    with pytest.raises(EncodingError, match=r"30 bytes are no sensor_msgs/msg/Image of ROS 1 \("):
        frames[1].image()


# -- what is no recording --------------------------------------------------------------------------


def test_a_path_without_a_recording_is_reported_in_one_line(tmp_path):
    assert "there is no such file or folder; expected a folder of rosbag2" in one_line(
        tmp_path / "missing"
    )
    assert "there is no recording in this folder" in one_line(tmp_path)
    text = tmp_path / "notes.mcap"
    text.write_text("these are my notes, not a recording")
    assert "this file is no recording; expected a folder" in one_line(text)
    text.write_text("")
    assert "the file is empty" in one_line(text)
    database = tmp_path / "other.db3"
    sqlite3.connect(database).execute("CREATE TABLE things (id INTEGER)")
    assert "(no such table: topics)" in one_line(database)
    missing = bags.write_bag(tmp_path / "gone", bags.moving_scene(1))
    bag_files.storage_file(missing).unlink()
    assert "there is no recording in this folder" in one_line(missing)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "file", "ros1"])
def test_a_recording_without_images_is_refused_with_its_topics(tmp_path, storage):
    suffix = SUFFIX.get(storage, "")
    empty = bags.write(tmp_path / f"empty{suffix}", [], storage=storage)
    assert "this recording contains no messages" in one_line(empty)
    other = bags.write(
        tmp_path / f"other{suffix}", bags.together(bags.words(2), bags.wheels(1)), storage=storage
    )
    assert one_line(other).endswith(
        "there is no image topic; the topics are /said (std_msgs/msg/String), "
        "/wheels (robot_msgs/msg/Wheels)"
    )


def test_a_topic_without_messages_is_named(tmp_path):
    path = bags.write(tmp_path / "bag", bags.together(bags.words(1), pixels((TOPIC, 5))),
                      storage="sqlite3")  # fmt: skip
    database = sqlite3.connect(bag_files.storage_file(path))
    with database:
        database.execute("DELETE FROM messages WHERE topic_id != 1")
    database.close()
    assert f"no image was recorded on {TOPIC} (sensor_msgs/msg/Image)" in one_line(path)


@pytest.mark.parametrize("missing", ["rosbags", "mcap"])
def test_without_the_packages_the_command_that_installs_them_is_named(tmp_path, missing):
    bags.write_bag(tmp_path / "bag", bags.moving_scene(1))
    script = (
        f"import sys, pathlib\nsys.modules[{missing!r}] = None\n"
        "from deep_perception.replay.recordings.bags import BagError, Recording\n"
        f"try: Recording(pathlib.Path({str(tmp_path / 'bag')!r}))\n"
        "except BagError as error: sys.stdout.write(str(error))\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"needs the package {missing}: python -m pip install 'rosbags>=0.11'" in said.stdout


def test_the_command_installs_what_the_extra_does():
    text = (Path(__file__).resolve().parents[3] / "setup.py").read_text()
    extra = re.search(r"REPLAY = \[(.*?)\]", text).group(1)
    assert shlex.split(INSTALL)[4:] == [each.strip(' "') for each in extra.split(",")]


# -- memory ----------------------------------------------------------------------------------------


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
