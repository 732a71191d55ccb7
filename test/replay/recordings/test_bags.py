"""Recordings of every kind give the frames of their image topics."""

import cv2
import numpy as np
import pytest
from mcap.writer import Writer as McapWriter

from deep_perception.replay.recordings.bags import BagError, Recording
from support import bag_files, bags
from support.bags import START_NS, TOPIC
from support.recordings import KINDS, LEFT, RIGHT, SUFFIX, pixels, read, seen


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
        assert str(caught.value).endswith("/camera_19 and 40 more")
