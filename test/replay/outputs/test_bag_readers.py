"""The bag of a replay is read by other programs, and its topics have names of their own."""

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from rosbags.highlevel import AnyReader

from deep_perception.replay.journal.scenes import to_line
from deep_perception.replay.outputs.bag import output_names
from deep_perception.replay.recordings.bags import Recording
from support.bags import START_NS, TOPIC
from support.replay_bags import contents, look, write


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
