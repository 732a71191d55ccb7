"""The bag of a replay: what it holds, that others can read it, that it is the same each time."""

import dataclasses
import itertools
import os
import shutil
import subprocess
import sys
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from mcap.reader import make_reader
from mcap_ros2.decoder import DecoderFactory
from rosbags.highlevel import AnyReader

from deep_perception import drawing
from deep_perception.analyzer import Analyzer
from deep_perception.points import Point
from deep_perception.regions import Description
from deep_perception.replay.journal.scenes import SceneRecord, from_line, to_line
from deep_perception.replay.outputs.bag import output_names, write_bag
from deep_perception.replay.outputs.messages import keyframe_of, to_detections, to_regions
from deep_perception.replay.recordings import interfaces
from deep_perception.replay.recordings.bags import BagError, Recording
from deep_perception.settings import OutputSettings, Settings
from deep_perception.stream import Stream
from support import bag_files, bags
from support.bags import START_NS, TOPIC

ROOT = Path(__file__).resolve().parents[3]
LEFT, RIGHT = "/left/image_raw", "/right/image_rect/compressed"


def look(path, topics=None):
    """The scenes of a recording, as its journal has them."""
    settings = Settings()
    with Recording(path) as recording, Analyzer(settings) as analyzer:
        topics = topics or list(recording.image_topics)
        streams = {topic: Stream() for topic in topics}
        numbers = {topic: itertools.count(1) for topic in topics}
        found = []
        for frame in recording.frames(topics):
            stream = streams[frame.topic]
            selected = stream.select(frame.stamp_ns, frame.image, settings.keyframes)
            if selected is None:
                continue
            scene = stream.analyze(analyzer, selected, settings)
            record = SceneRecord(
                topic=frame.topic, position=frame.position, log_ns=frame.log_ns,
                stamp_ns=frame.stamp_ns, frame_id=frame.frame_id,
                keyframe=next(numbers[frame.topic]), reason=selected.decision.reason, scene=scene,
            )  # fmt: skip
            found.append(from_line(to_line(record)))
        return found


def write(path, folder, records, *, images="all", topics=None, output=None, **limits):
    with Recording(path) as recording:
        write_bag(
            folder, recording, topics or list(recording.image_topics), records, images=images,
            settings=output or OutputSettings(), **limits,
        )  # fmt: skip
    return folder


def decoded(folder):
    """(topic, log time, message) of a bag as Foxglove's own library decodes it."""
    with (folder / "bag.mcap").open("rb") as file:
        reader = make_reader(file, validate_crcs=True, decoder_factories=[DecoderFactory()])
        for found in reader.iter_decoded_messages(log_time_order=False):
            yield found.channel.topic, found.message.log_time, found.decoded_message


def contents(folder):
    return {
        str(file.relative_to(folder)): file.read_bytes()
        for file in folder.rglob("*") if file.is_file()
    }  # fmt: skip


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """(recording of a camera, its scenes): the view changes twice."""
    path = tmp_path_factory.mktemp("drive") / "drive"
    bags.write(path, bags.together(bags.camera(bags.moving_scene(45)), bags.words(9)))
    records = look(path)
    assert 3 <= len(records) < 15 and all(each.scene.regions for each in records)
    return path, records


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory):
    path = tmp_path_factory.mktemp("cameras") / "two.bag"
    recorded = bags.together(
        bags.camera(bags.moving_scene(12, cut_every=6), LEFT),
        bags.camera(bags.moving_scene(12, cut_every=8), RIGHT, compressed_images=True),
    )
    bags.write(path, recorded, storage="ros1")
    return path, look(path)


# -- what is in it -----------------------------------------------------------------------------


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
        assert (picture != frames[each.position]).mean() > 0.5
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
    assert {message.segmenter, message.segmenter_model, message.warnings[0]} == {"half a ? pair"}
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


# -- that others read it -----------------------------------------------------------------------


def test_rosbag2_finds_all_that_it_needs_to_play_it(drive, tmp_path):
    path, records = drive
    folder = write(path, tmp_path / "out", records)
    assert sorted(contents(folder)) == ["bag.mcap", "metadata.yaml"]
    metadata = yaml.safe_load((folder / "metadata.yaml").read_text())["rosbag2_bagfile_information"]
    assert metadata["storage_identifier"] == "mcap"
    assert metadata["relative_file_paths"] == ["bag.mcap"]
    assert metadata["message_count"] == 45 + 3 * len(records)
    # Humble reads no later version.
    assert metadata["version"] <= 8
    start = metadata["starting_time"]["nanoseconds_since_epoch"]
    assert (start, metadata["duration"]["nanoseconds"]) == (START_NS + 10**6, 44 * 10**8)
    topics = {
        each["topic_metadata"]["name"]: (each["topic_metadata"], each["message_count"])
        for each in metadata["topics_with_message_count"]
    }
    assert {name: count for name, (_, count) in topics.items()} == {
        TOPIC: 45,
        "/analyzer/detections": len(records),
        "/analyzer/regions": len(records),
        "/analyzer/annotated/compressed": len(records),
    }
    assert {each["serialization_format"] for each, _ in topics.values()} == {"cdr"}
    # history, reliability, durability: 1 is keep last, reliable, transient local; 2 is volatile.
    for name, (topic, _) in topics.items():
        (qos,) = yaml.safe_load(topic["offered_qos_profiles"])
        latched = name == "/analyzer/regions"
        assert (qos["history"], qos["reliability"]) == (1, 1)
        assert (qos["durability"], qos["depth"]) == ((1, 1) if latched else (2, 10))
    assert topics["/analyzer/detections"][0]["type_description_hash"] == (
        "RIHS01_214274120007f4a683866481336b70310268cfa107aebe9d594a6acf75bda968"
    )


def test_rosbags_reads_back_the_same_messages(drive, tmp_path):
    path, records = drive
    with AnyReader([write(path, tmp_path / "out", records, images="none")]) as reader:
        regions = [
            reader.deserialize(data, connection.msgtype)
            for connection, _, data in reader.messages()
            if connection.topic == "/analyzer/regions"
        ]
    for message, each in zip(regions, records, strict=True):
        assert [r.description for r in message.regions] == [
            r.description.text for r in each.scene.regions
        ]


def test_the_bag_is_a_recording_itself(drive, tmp_path):
    path, records = drive
    folder = write(path, tmp_path / "out", records)
    again = look(folder, [TOPIC])
    assert [to_line(each) for each in again] == [to_line(each) for each in records]
    with Recording(folder) as recording:
        assert list(recording.image_topics) == ["/analyzer/annotated/compressed", TOPIC]


def test_a_bag_of_nothing_is_a_bag(drive, tmp_path):
    path, _ = drive
    with AnyReader([write(path, tmp_path / "out", [], images="keyframes")]) as reader:
        assert reader.message_count == 0 and len(reader.topics) == 4


# -- the same each time ------------------------------------------------------------------------


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


# -- names -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("topics", "names"),
    [
        (["/camera/image_raw"], {"/camera/image_raw": "/analyzer"}),
        (
            ["/front/image_raw", "/rear/image_rect/compressed", "/image"],
            {
                "/front/image_raw": "/analyzer/front",
                "/rear/image_rect/compressed": "/analyzer/rear",
                "/image": "/analyzer/image",
            },
        ),
        (
            ["/cam/image_raw", "/cam/image_raw/compressed", "/other"],
            {
                "/cam/image_raw": "/analyzer/cam/image_raw",
                "/cam/image_raw/compressed": "/analyzer/cam/image_raw/compressed",
                "/other": "/analyzer/other",
            },
        ),
        # A bag of ours is looked at again.
        (
            ["/analyzer/annotated/compressed"],
            {"/analyzer/annotated/compressed": "/analyzer/analyzer"},
        ),
    ],
)
def test_results_are_named_after_their_camera(topics, names):
    assert output_names(topics) == names


PARTS = st.sampled_from(
    ["image", "image_raw", "compressed", "analyzer", "cam", "regions", "annotated", "detections"]
)


@given(st.sets(st.lists(PARTS, min_size=1, max_size=4).map(lambda parts: "/" + "/".join(parts)),
               min_size=1, max_size=6))  # fmt: skip
def test_no_two_topics_of_a_bag_have_the_same_name(topics):
    ends = ("detections", "regions", "annotated/compressed")
    results = [f"{name}/{end}" for name in output_names(topics).values() for end in ends]
    assert len({*results, *topics}) == len(results) + len(topics)


# -- the definitions of messages ------------------------------------------------------------------


def test_the_definitions_are_those_of_the_interface_packages(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import replay_interfaces

    for name in replay_interfaces.TYPES:
        assert interfaces.definition(name) == replay_interfaces.definition(name), (
            "run: python tools/replay_interfaces.py"
        )


def test_the_definitions_are_in_an_installed_package(tmp_path):
    # From Python 3.12 on an environment has it only when something asks for it.
    pytest.importorskip("setuptools", reason="there is no setuptools to build with")
    shutil.copytree(
        ROOT, tmp_path / "source",
        ignore=shutil.ignore_patterns(".*", "build", "install", "log", "test", "benchmarks"),
    )  # fmt: skip
    build = [sys.executable, "setup.py", "-q", "build", "--build-base", str(tmp_path / "build")]
    subprocess.run(build, cwd=tmp_path / "source", check=True, capture_output=True)
    there = tmp_path / "build" / "lib" / "deep_perception" / "replay" / "recordings" / "interfaces"
    assert sorted(file.name for file in there.glob("*.msg")) == [
        "DescribedRegionArray.msg", "Detection2DArray.msg"
    ]  # fmt: skip


def odd_scene(scene):
    """The scene with words that are hard to write down, and all that most scenes lack."""
    words = [
        Description(status="failed", error="timed out"),
        Description(status="pending"),
        Description(
            status="reused", label="Größe 中文 🦊", text='"quoted"\nand\tso on', model="m/x:1",
            describer="chat", prompt_id="0a1b", truncated=True, attributes={"": "", "größe": "é"},
        ),
    ]  # fmt: skip
    regions = [
        dataclasses.replace(region, description=each)
        for region, each in zip(scene.regions, itertools.cycle(words), strict=False)
    ]
    return dataclasses.replace(
        scene, regions=tuple(regions), warnings=("one", ""), segmenter_model="tiny",
        skipped_points=(Point(3, 4, "grid"), Point(5, 6, "contour")),
    )  # fmt: skip


@pytest.mark.ros
@pytest.mark.parametrize("change", [lambda scene: scene, odd_scene])
def test_the_bytes_are_those_that_the_node_publishes(drive, change):
    from rclpy.serialization import deserialize_message, serialize_message
    from std_msgs.msg import Header

    from deep_perception.reports.messages import Keyframe
    from deep_perception.ros import messages

    for each in drive[1]:
        scene = change(each.scene)
        header = Header(frame_id=each.frame_id)
        header.stamp.sec, header.stamp.nanosec = divmod(each.stamp_ns, 10**9)
        keyframe = Keyframe(header, each.keyframe, each.reason, "front")
        image = bags.image(np.zeros((2, 2, 3), np.uint8), each.stamp_ns, frame_id=each.frame_id)
        source = keyframe_of(image, each, camera="front")
        for ours, published in (
            (to_detections(scene, source), messages.to_detections(scene, keyframe)),
            (to_regions(scene, source), messages.to_regions(scene, keyframe)),
        ):
            # What lies between the fields is left as it was in memory by Fast CDR.
            data, theirs = interfaces.write(ours), serialize_message(published)
            assert len(data) == len(theirs)
            assert data == interfaces.write(interfaces.read(theirs, ours.__msgtype__))
            kind = type(published)
            assert deserialize_message(data, kind) == deserialize_message(theirs, kind)


@pytest.mark.ros
def test_the_types_have_the_hashes_that_ros_gives_them():
    import json

    from ament_index_python.packages import get_package_share_directory

    for name in (interfaces.DETECTIONS, interfaces.REGIONS):
        package, _, kind = name.split("/")
        text = (Path(get_package_share_directory(package)) / "msg" / f"{kind}.json").read_text()
        hashes = {
            each["type_name"]: each["hash_string"] for each in json.loads(text)["type_hashes"]
        }
        assert interfaces.type_hash(name) == hashes[name]
