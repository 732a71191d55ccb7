"""The bag of a replay holds the images and every scene."""

import dataclasses

import cv2
import numpy as np
import pytest
from rosbags.highlevel import AnyReader

from deep_perception import drawing
from deep_perception.regions import Description
from deep_perception.replay.journal.scenes import from_line, to_line
from deep_perception.replay.outputs.bag import write_bag
from deep_perception.replay.recordings import interfaces
from deep_perception.replay.recordings.bags import Recording
from deep_perception.settings import OutputSettings
from support import bag_files, bags
from support.bags import START_NS, TOPIC
from support.replay_bags import LEFT, RIGHT, decoded, look, write


def test_each_scene_is_in_the_bag_field_by_field(drive, tmp_path):
    path, records = drive
    found = list(decoded(write(path, tmp_path / "out", records)))
    with Recording(path) as recording:
        frames = list(recording.frames([TOPIC]))
    assert [log_ns for _, log_ns, _ in found] == sorted(log_ns for _, log_ns, _ in found)
    images = [message for topic, _, message in found if topic == TOPIC]
    assert len(images) == 45 and images[7].data == bytes(frames[7].image().reshape(-1))
    for end in ("detections", "regions", "annotated/compressed"):
        times = [log_ns for topic, log_ns, _ in found if topic == f"/analyzer/{end}"]
        assert times == [each.log_ns for each in records]
    detections = [message for topic, _, message in found if topic == "/analyzer/detections"]
    for message, each in zip(detections, records, strict=True):
        check_header(message.header, each)
        assert len(message.detections) == len(each.scene.regions)
        for detection, region in zip(message.detections, each.scene.regions, strict=True):
            check_header(detection.header, each)
            (result,) = detection.results
            assert result.hypothesis.class_id == region.description.label
            assert result.hypothesis.score == region.score
            assert detection.id == region.track_id != ""
            check_box(detection.bbox, region.box)
    regions = [message for topic, _, message in found if topic == "/analyzer/regions"]
    for message, each in zip(regions, records, strict=True):
        check_header(message.header, each)
        scene = each.scene
        assert (message.camera, message.keyframe, message.reason) == (
            "",
            each.keyframe,
            each.reason,
        )
        assert (message.width, message.height) == scene.size
        assert message.coverage == np.float32(scene.coverage)
        assert message.complete == scene.complete
        assert (message.segmenter, message.segmenter_model) == ("superpixels", "")
        assert message.skipped_points == [] and message.warnings == list(scene.warnings)
        for ours, region in zip(message.regions, scene.regions, strict=True):
            check_region(ours, region, each)


def check_header(header, record):
    assert header.stamp.sec * 10**9 + header.stamp.nanosec == record.stamp_ns
    assert header.frame_id == record.frame_id == bags.FRAME_ID


def check_box(message, box):
    centre = message.center.position
    assert (centre.x - message.size_x / 2, centre.y - message.size_y / 2) == (box.x1, box.y1)
    assert (centre.x + message.size_x / 2, centre.y + message.size_y / 2) == (box.x2, box.y2)


def check_region(message, region, record):
    words = region.description
    check_header(message.header, record)
    check_box(message.bbox, region.box)
    assert (message.keyframe, message.index) == (record.keyframe, region.index)
    assert (message.track_id, message.revision) == (region.track_id, region.revision)
    assert (message.source, message.point.x, message.point.y) == (
        region.point.source, region.point.x, region.point.y
    )  # fmt: skip
    assert (message.mask.width, message.mask.height) == region.rle.size
    assert (message.mask.counts, message.area) == (region.rle.counts, region.area)
    assert message.score == np.float32(region.score)
    assert (message.label, message.description) == (words.label, words.text)
    assert {pair.key: pair.value for pair in message.attributes} == words.attributes != {}
    assert (message.status, message.describer, message.model) == (
        words.status, words.describer, words.model
    )  # fmt: skip
    assert (message.prompt_id, message.error) == (words.prompt_id, words.error)
    assert (message.latency.sec, message.latency.nanosec, message.truncated) == (0, 0, False)
    for time, stamp_ns in (
        (message.first_seen, region.first_seen_ns),
        (message.last_described, region.last_described_ns),
    ):
        assert time.sec * 10**9 + time.nanosec == stamp_ns > 0


@pytest.mark.parametrize("labels", ["index", "words"])
def test_the_annotated_image_is_the_frame_with_its_regions(drive, tmp_path, labels):
    path, records = drive
    output = OutputSettings(labels=labels, jpeg_quality=100)
    write(path, tmp_path / "out", records, output=output)
    with Recording(path) as recording:
        frames = {frame.position: frame.image() for frame in recording.frames([TOPIC])}
    annotated = [m for topic, _, m in decoded(tmp_path / "out") if "annotated" in topic]
    for message, each in zip(annotated, records, strict=True):
        check_header(message.header, each)
        assert message.format == "bgr8; jpeg compressed bgr8"
        picture = cv2.imdecode(np.frombuffer(message.data, np.uint8), cv2.IMREAD_COLOR)
        expected = drawing.annotate(each.scene, frames[each.position], label=labels)
        _, jpeg = cv2.imencode(".jpg", expected, [cv2.IMWRITE_JPEG_QUALITY, 100])
        np.testing.assert_array_equal(picture, cv2.imdecode(jpeg, cv2.IMREAD_COLOR))
        assert (expected != frames[each.position]).any(axis=-1).mean() > 0.02
    write(path, tmp_path / "small", records, output=OutputSettings(jpeg_quality=30))
    small = [m for topic, _, m in decoded(tmp_path / "small") if "annotated" in topic]
    assert len(small[0].data) < len(annotated[0].data) / 2


@pytest.mark.parametrize("images", ["all", "keyframes", "none"])
def test_the_original_images_are_copied_as_chosen(drive, tmp_path, images):
    path, records = drive
    folder = write(path, tmp_path / "out", records, images=images)
    with Recording(path) as recording:
        frames = list(recording.frames([TOPIC]))
    expected = {
        "all": frames,
        "keyframes": [frames[each.position] for each in records],
        "none": [],
    }[images]
    copied = [each for each in bag_files.mcap_messages(folder / "bag.mcap") if each[0] == TOPIC]
    assert copied == [(TOPIC, frame.log_ns, frame.data) for frame in expected]
    with AnyReader([folder]) as reader:
        assert (TOPIC in reader.topics) == (images != "none")
        assert reader.topics["/analyzer/regions"].msgcount == len(records)


def test_only_a_part_of_the_recording_is_copied(drive, tmp_path):
    path, records = drive
    start, stop = records[1].log_ns, records[2].log_ns + 1
    folder = write(path, tmp_path / "out", records[1:3], start_ns=start, stop_ns=stop)
    times = [log_ns for topic, log_ns, _ in decoded(folder) if topic == TOPIC]
    assert times == list(range(start, stop, 100_000_000))


def test_several_cameras_have_names_and_ros_1_becomes_ros_2(two_cameras, tmp_path):
    path, records = two_cameras
    folder = write(path, tmp_path / "out", records)
    with AnyReader([folder]) as reader:
        assert {name: topic.msgtype for name, topic in reader.topics.items()} == {
            LEFT: bags.IMAGE,
            RIGHT: bags.COMPRESSED,
            "/analyzer/left/detections": interfaces.DETECTIONS,
            "/analyzer/left/regions": interfaces.REGIONS,
            "/analyzer/left/annotated/compressed": bags.COMPRESSED,
            "/analyzer/right/detections": interfaces.DETECTIONS,
            "/analyzer/right/regions": interfaces.REGIONS,
            "/analyzer/right/annotated/compressed": bags.COMPRESSED,
        }
    found = list(decoded(folder))
    assert [log_ns for _, log_ns, _ in found] == sorted(log_ns for _, log_ns, _ in found)
    for topic, camera in ((LEFT, "left"), (RIGHT, "right")):
        assert sum(each == topic for each, _, _ in found) == 12
        regions = [m for each, _, m in found if each == f"/analyzer/{camera}/regions"]
        assert {message.camera for message in regions} == {camera}
        assert {r.camera for message in regions for r in message.regions} == {camera}
        assert [message.keyframe for message in regions] == list(range(1, len(regions) + 1))
    first = next(message for topic, _, message in found if topic == LEFT)
    assert first.data == bytes(next(bags.moving_scene(1)).reshape(-1))
    assert first.header.frame_id == bags.FRAME_ID


def test_a_header_without_a_stamp_stays_so(tmp_path):
    frame = next(bags.moving_scene(1))
    recorded = [bags.Recorded(TOPIC, bags.IMAGE, START_NS, bags.image(frame, 0, frame_id="c"))]
    path = bags.write(tmp_path / "bag", recorded)
    (record,) = look(path)
    assert record.stamp_ns == START_NS
    for _, _, message in decoded(write(path, tmp_path / "out", [record])):
        assert (message.header.stamp.sec, message.header.stamp.nanosec) == (0, 0)
        assert message.header.frame_id == "c"


@pytest.mark.parametrize("start_ns", [4_102_444_800_000_000_000, 2**63 + 5])
def test_a_recording_later_than_the_last_possible_stamp(tmp_path, start_ns):
    recorded = [
        bags.Recorded(TOPIC, bags.IMAGE, start_ns + number * 10**9, bags.image(frame, 0))
        for number, frame in enumerate(bags.moving_scene(4, cut_every=2))
    ]
    path = tmp_path / "bag.mcap"
    bags.write_mcap(path, recorded)
    records = look(path)
    folder = write(path, tmp_path / "out", records)
    found = [message for topic, _, message in decoded(folder) if topic == "/analyzer/regions"]
    assert len(found) == len(records) > 1
    for region in (region for message in found for region in message.regions):
        assert (region.first_seen.sec, region.first_seen.nanosec) == (2**31 - 1, 999_999_999)
        assert region.last_described == region.first_seen
        assert region.header.stamp.sec == 0


@pytest.mark.parametrize("labels", ["index", "words"])
def test_text_that_no_message_can_contain(drive, tmp_path, labels):
    half = "half a \ud800 pair"
    path, records = drive
    words = Description(
        status="described", label=half, text=half, describer=half, model=half, prompt_id=half,
        attributes={"colour": "red", half: half},
    )  # fmt: skip
    scene = records[0].scene
    first, second, *_ = scene.regions
    failed = Description(status="failed", error=half)
    scene = dataclasses.replace(
        scene, regions=(first.described(words), second.described(failed)), warnings=(half,),
        segmenter=half, segmenter_model=half,
    )  # fmt: skip
    odd = from_line(to_line(dataclasses.replace(records[0], scene=scene)))
    folder = write(
        path, tmp_path / "out", [odd, *records[1:]], output=OutputSettings(labels=labels)
    )
    found = {topic: message for topic, _, message in reversed(list(decoded(folder)))}
    message, whole = found["/analyzer/regions"], "half a \ufffd pair"
    assert {message.segmenter, message.segmenter_model, message.warnings[0]} == {whole}
    region, other = message.regions
    assert {region.label, region.description, region.describer, region.model, region.prompt_id,
            other.error} == {whole}  # fmt: skip
    attributes = {each.key: each.value for each in region.attributes}
    assert attributes == {"colour": "red", whole: whole}
    detection = found["/analyzer/detections"].detections[0]
    assert detection.results[0].hypothesis.class_id == whole


def test_a_broken_image_is_copied_and_affects_no_other(tmp_path):
    recorded = list(bags.camera(bags.moving_scene(4)))
    recorded[2] = recorded[2]._replace(data=recorded[2].data[:999])
    path = bags.write(tmp_path / "bag", recorded)
    with Recording(path) as recording:
        frames = list(recording.frames([TOPIC]))
        write_bag(tmp_path / "out", recording, [TOPIC], [], images="all", settings=OutputSettings())
    copied = list(bag_files.mcap_messages(tmp_path / "out" / "bag.mcap"))
    assert copied == [(TOPIC, frame.log_ns, frame.data) for frame in frames]
