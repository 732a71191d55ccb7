"""Recordings with damaged bytes lose only the messages that are damaged."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from rosbags import rosbag1

from deep_perception.encodings import EncodingError
from deep_perception.replay.recordings.bags import BagError, RecordedFrame
from support import bag_files, bags
from support.bags import START_NS, TOPIC
from support.recordings import KINDS, SUFFIX, read, seen


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


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["bz2", "lz4"])
@pytest.mark.parametrize("places", [[0.7], [0.2, 0.21, 0.6]])
def test_damage_in_a_ros_1_bag_costs_only_what_is_damaged(tmp_path, compression, places):
    path = bags.write_bag(
        tmp_path / "old.bag", bags.moving_scene(120), storage="ros1", compression=compression
    )
    whole, _ = read(path)
    for place in places:
        bag_files.damage(path, int(path.stat().st_size * place), 2000)
    frames, warnings = read(path)
    assert len(frames) + len(warnings) == 120
    # Each of its chunks has about 18 messages.
    assert len(warnings) < 20 * len(places) and "old.bag: is damaged (" in warnings[0]
    by_position = {f.position: f for f in whole}
    assert all(f.data == by_position[f.position].data for f in frames)
    for start in (f.log_ns for f in whole[::30]):
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
