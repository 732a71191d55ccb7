"""Replays of whole recordings: what the live node would see, and the same bytes every time.

This file is longer than 300 lines because its tests share replays that take seconds to make, and
the tests of one file run in one process.
"""

import dataclasses
import enum
import itertools
import json
import pickle
import random
import re
import threading
import time
import tracemalloc
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception import drawing, masks
from deep_perception.analyzer import Analyzer
from deep_perception.images import IntensityRange
from deep_perception.masks import Size
from deep_perception.points import Point
from deep_perception.regions import Description, Region, Scene
from deep_perception.replay.datasets import Examples
from deep_perception.replay.determinism import replay_settings
from deep_perception.replay.events import Notice, Problem, Progress
from deep_perception.replay.journal import JournalError, read_scenes, resume
from deep_perception.replay.journal.scenes import SceneRecord, from_line, to_line
from deep_perception.replay.recordings.bags import BagError, Recording
from deep_perception.replay.recordings.choice import (
    Choice,
    ChoiceError,
    Moment,
    Sampler,
    choose_topics,
)
from deep_perception.replay.recordings.source import ReplaySource, SceneImages
from deep_perception.replay.resume_point import ResumePoint
from deep_perception.replay.task import Task
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings.options import settings_from
from deep_perception.stamps import FrameStamps
from deep_perception.stream import Stream
from support import bags
from support.bags import START_NS, TOPIC
from support.chat_server import WORDS, Reply, Server, completion
from support.describers import SPELLINGS
from support.replays import (
    LEFT,
    QUICK,
    RIGHT,
    ROOT,
    content,
    replay,
    run,
    run_command,
    scenes,
    two_cameras,
)

SECOND = 1_000_000_000


@pytest.fixture(scope="module")
def recording(tmp_path_factory):
    return two_cameras(tmp_path_factory.mktemp("recorded") / "drive")


def lines(events, kind):
    return [event.text for event in events if isinstance(event, kind)]


# -- what is found ------------------------------------------------------------------------------


def watched(bag, topics, settings, stream_of=lambda stream: stream):
    """The scenes as a node sees them that gets each picture of a recording."""
    streams, found = {topic: Stream() for topic in topics}, []
    with Recording(bag) as recording, Analyzer(settings) as analyzer:
        for frame in recording.frames(topics):
            streams[frame.topic] = stream = stream_of(streams[frame.topic])
            selected = stream.select(frame.stamp_ns, frame.image, settings.keyframes)
            if selected is None:
                continue
            scene = stream.analyze(analyzer, selected, settings)
            found.append(
                SceneRecord(
                    topic=frame.topic, position=frame.position, log_ns=frame.log_ns,
                    stamp_ns=frame.stamp_ns, frame_id=frame.frame_id,
                    reason=selected.decision.reason,
                    keyframe=1 + sum(each.topic == frame.topic for each in found), scene=scene,
                )
            )  # fmt: skip
    return [to_line(each) for each in found]


def test_the_scenes_are_those_that_a_node_would_see(recording, tmp_path):
    summary, events = replay(recording, tmp_path / "drive")
    expected = watched(recording, [LEFT, RIGHT], settings_from(QUICK))
    assert (tmp_path / "drive" / "scenes.jsonl").read_text().splitlines() == expected
    found = scenes(tmp_path / "drive")
    assert {each["topic"] for each in found} == {LEFT, RIGHT}
    assert {"first", "scene"} <= {each["reason"] for each in found}
    # And the summary counts them.
    assert summary.counts.frames == 72
    assert summary.keyframes == Counter(each["reason"] for each in found)
    statuses = Counter(each["status"] for scene in found for each in scene["regions"])
    assert {name: count for name, count in summary.regions.items() if count} == statuses
    tracks = {(scene["topic"], each["track_id"]) for scene in found for each in scene["regions"]}
    assert summary.tracks == len(tracks)
    progress = [event for event in events if isinstance(event, Progress)]
    assert [event.share for event in progress if event.step == "scenes"] == sorted(
        event.share for event in progress if event.step == "scenes"
    )
    assert {event.step for event in progress} == {"scenes", "bag", "page"}
    assert lines(events, Notice) == [f"drive: {LEFT}, {RIGHT}"]
    assert not lines(events, Problem)


def saved_and_read(stream, settings):
    point = resume_point(streams={LEFT: stream})
    return resume.loads(resume.dumps(point), settings, [LEFT]).streams[LEFT]


def resume_point(**fields):
    empty = {
        "sampler": Sampler(1, 0.0, 0), "streams": {LEFT: Stream()}, "keyframes": {LEFT: 0},
        "regions": 0, "position": -1, "log_ns": 0, "stamps": {LEFT: FrameStamps()},
    }  # fmt: skip
    return ResumePoint(**{**empty, **fields})


def test_a_saved_stream_gives_the_same_scenes(recording):
    """After every frame, bit by bit: what follows is the same."""
    settings = settings_from({**QUICK, "describer.backend": "support.describers:Jumbled",
                              "points.order": "novelty"})  # fmt: skip
    frozen = watched(recording, [LEFT], settings, lambda stream: saved_and_read(stream, settings))
    assert frozen == watched(recording, [LEFT], settings)
    assert sum(line.count('"reused"') for line in frozen) > 3


def test_a_saved_stream_is_small():
    """A checkpoint a second must not fill a disk, nor wear it out."""
    settings = settings_from({})
    stream, picture = Stream(), next(bags.moving_scene(1, size=(640, 480)))
    with Analyzer(settings) as analyzer:
        selected = stream.select(1, picture.copy, settings.keyframes)
        scene = stream.analyze(analyzer, selected, settings)
    assert sum(region.mask.nbytes for region in scene.regions) > 3_000_000
    assert len(resume.dumps(resume_point(streams={LEFT: stream}))) < 300_000


class Kind(str, enum.Enum):
    MUG = "mug"


def test_labels_of_an_enumeration_become_plain_strings():
    words = Description(
        status="described", label=Kind.MUG, text=Kind.MUG, attributes={"a": Kind.MUG}
    )
    assert {type(text) for text in (words.label, words.text, words.attributes["a"])} == {str}
    assert (words.label, words.attributes) == ("mug", {"a": "mug"})


def test_an_empty_stamp_is_the_time_of_recording(tmp_path):
    frames = list(bags.moving_scene(20))
    recorded = [
        bags.Recorded(TOPIC, bags.IMAGE, START_NS + number * SECOND // 10, bags.image(frame, 0))
        for number, frame in enumerate(frames)
    ]
    bag = bags.write(tmp_path / "unstamped", recorded)
    replay(bag, tmp_path / "out")
    found = scenes(tmp_path / "out")
    assert len(found) > 2
    assert all(each["stamp_ns"] == each["log_ns"] > START_NS - 1 for each in found)


@pytest.mark.parametrize("stamps", ["constant", "slow", "fast"])
def test_stamps_that_are_of_no_use_give_way_to_the_time_of_recording(tmp_path, stamps):
    pace = {"constant": 0, "slow": SECOND // 10_000, "fast": 100 * SECOND}[stamps]
    recorded = [
        bags.Recorded(
            TOPIC, bags.IMAGE, START_NS + number * SECOND // 10,
            bags.image(frame, START_NS - 60 * SECOND + number * pace),
        )
        for number, frame in enumerate(bags.moving_scene(60))
    ]  # fmt: skip
    bag = bags.write(tmp_path / "stamps", recorded)
    summary, _ = replay(bag, tmp_path / "out")
    found = scenes(tmp_path / "out")
    assert [each["reason"] for each in found].count("first") == 1
    late = [each for each in found if each["position"] > 30]
    assert late
    steps_ns = np.diff([each["log_ns"] for each in late])
    assert min(steps_ns) >= settings_from(QUICK).keyframes.min_interval_s * SECOND
    if stamps != "fast":
        assert all(each["stamp_ns"] == each["log_ns"] for each in late)
    (warning,) = summary.counts.warnings
    assert warning.startswith(f"the images of {TOPIC} have stamps that")
    assert warning.endswith("the time of recording is used")


# -- the same bytes -----------------------------------------------------------------------------


@pytest.mark.slow
def test_two_processes_write_the_same_bytes(recording, tmp_path):
    for name in ("one", "two"):
        done = run_command(recording, "--output", tmp_path / name, cache=tmp_path / "cache")
        assert done.returncode == 0, done.stderr
    one, two = content(tmp_path / "one"), content(tmp_path / "two")
    assert one == two
    assert {"drive/scenes.jsonl", "drive/report.html", "drive/bag/bag.mcap",
            "drive/bag/metadata.yaml"} <= set(one)  # fmt: skip
    # Wherever they are written to.
    assert not [name for name, data in one.items() if str(tmp_path).encode() in data]


@pytest.mark.slow
@pytest.mark.parametrize("describer", ["Jumbled", "Moody"])
def test_a_describer_that_answers_in_any_order(recording, tmp_path, describer):
    changes = {**QUICK, "describer.backend": f"support.describers:{describer}"}
    if describer == "Jumbled":
        # Not even with the words of the run before.
        changes["describer.cache_size"] = 0
    # The second process has another hash seed than the first one, which is forked.
    for name, start in (("one", run), ("two", run_command)):
        done = start(recording, "--output", tmp_path / name, cache=tmp_path / "cache",
                     changes=changes)  # fmt: skip
        assert done.returncode == 0, done.stderr
    assert content(tmp_path / "one") == content(tmp_path / "two")
    found = scenes(tmp_path / "one" / "drive")
    for scene in found:
        assert len({each["label"] for each in scene["regions"]}) == 1
        assert {each["status"] for each in scene["regions"]} <= {"described", "reused"}
    # More than one of the spellings is the most frequent one of some scene.
    assert len({scene["regions"][0]["label"] for scene in found}) > 1
    assert (" 0 calls" in done.stdout) == (describer == "Moody")


@pytest.mark.slow
@pytest.mark.chat
def test_a_chat_server_that_never_answers_the_same_twice(recording, tmp_path):
    lock = threading.Lock()

    def answer(request):
        with lock:
            label, number, wait = random.choice(SPELLINGS), random.random(), random.random() / 30
        time.sleep(wait)
        return Reply(completion({**WORDS, "label": label, "caption": f"A cup, {number}."}))

    with Server(answer) as server:
        changes = {**QUICK, "describer.backend": "chat", "describer.url": server.url,
                   "describer.fallback": ""}  # fmt: skip
        for name in ("one", "two", "three"):
            # The third with a memory of its own.
            cache = tmp_path / ("other" if name == "three" else "cache")
            done = run(recording, "--output", tmp_path / name, cache=cache, changes=changes)
            assert done.returncode == 0, done.stderr
            if name == "one":
                asked = len(server.requests)
            elif name == "two":
                assert len(server.requests) == asked > 20
            assert (" 0 calls" in done.stdout) == (name == "two")
    one, two, three = (content(tmp_path / name) for name in ("one", "two", "three"))
    assert one == two
    assert one["drive/scenes.jsonl"] != three["drive/scenes.jsonl"]
    found = scenes(tmp_path / "one" / "drive")
    assert {each["describer"] for scene in found for each in scene["regions"]} == {"chat"}
    assert len({scene["regions"][0]["label"] for scene in found}) > 1


@pytest.mark.slow
@pytest.mark.chat
def test_a_server_s_restriction_is_logged_and_not_part_of_the_scenes(recording, tmp_path):
    """The first run finds it out by asking, the second has no need to ask."""

    def answer(request):
        if len(request["messages"][0]["content"]) > 2:
            return Reply({"error": "only one image is supported"}, 400)
        return Reply(completion(WORDS))

    with Server(answer) as server:
        changes = {**QUICK, "describer.backend": "chat", "describer.url": server.url,
                   "describer.scene_picture": "true"}  # fmt: skip
        for name in ("one", "two"):
            done = run(recording, "--output", tmp_path / name, cache=tmp_path / "cache",
                       changes=changes)  # fmt: skip
            assert done.returncode == 0, done.stderr
            assert ("scene_picture is not used" in done.stderr) == (name == "one")
    assert content(tmp_path / "one") == content(tmp_path / "two")


def test_a_replay_has_no_deadlines():
    emitted = []
    settings = replay_settings(
        settings_from({"describer.scene_deadline_s": 0.5, "sweep.deadline_s": 2.0}), emitted.append
    )
    assert settings.describer.scene_deadline_s == settings.sweep.deadline_s == 0
    assert [line.split(":")[0] for line in lines(emitted, Problem)] == [
        "describer.scene_deadline_s", "sweep.deadline_s",
    ]  # fmt: skip
    assert settings.describer.cache_file.endswith("deep_perception/words.sqlite")
    kept = settings_from({"describer.cache_file": "/some/where"})
    assert replay_settings(kept, emitted.append).describer.cache_file == "/some/where"


# -- frames that are no pictures, and a describer that fails ------------------------------------


def test_frames_that_cannot_be_decoded_are_left_out(tmp_path):
    recorded = list(bags.camera(bags.moving_scene(40)))
    broken = list(recorded)
    for number in range(1, 40, 3):
        # Different lengths, the same trouble.
        cut = recorded[number].data[: 2000 + number]
        broken[number] = recorded[number]._replace(data=cut)
    broken[5] = broken[5]._replace(
        data=bags.image(np.zeros((8, 8, 3), np.uint8), START_NS + SECOND // 2, encoding="odd")
    )
    bag = bags.write(tmp_path / "broken", broken)
    summary, events = replay(bag, tmp_path / "out", {"keyframes.min_interval_s": 0.0})
    problems = lines(events, Problem)
    assert len(problems) == 2
    assert all(TOPIC in line and "\n" not in line for line in problems)
    assert sum("'odd'" in line for line in problems) == 1
    assert sorted(summary.counts.lost.values()) == [1, len(range(1, 40, 3))]
    assert summary.counts.frames == 40
    found = scenes(tmp_path / "out")
    assert len(found) > 2
    assert not {each["position"] for each in found} & {*range(1, 40, 3), 5}


def test_a_frame_at_which_a_backend_raises_is_left_out(tmp_path):
    bag = bags.write_bag(tmp_path / "rec", bags.moving_scene(40))
    summary, events = replay(
        bag, tmp_path / "out", {"segmenter.backend": f"{__name__}:Nervous",
                                "keyframes.min_interval_s": 0.0},
    )  # fmt: skip
    assert lines(events, Problem) == [
        f"out: a frame is left out: {TOPIC}: RuntimeError: I saw picture 2"
    ]
    assert sum(summary.counts.lost.values()) == 1
    assert len(scenes(tmp_path / "out")) > 1


class Nervous(Superpixels):
    seen = 0

    def embed(self, image):
        Nervous.seen += 1
        if Nervous.seen == 2:
            raise RuntimeError(f"I saw picture {Nervous.seen}")
        return super().embed(image)


# -- which frames -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "ns", "absolute"),
    [
        ("12.5", 12_500_000_000, False),
        ("0", 0, False),
        ("@1767225600.000000001", START_NS + 1, True),
        ("2026-01-01T00:00:00Z", START_NS, True),
        ("2026-01-01 00:00:00.25", START_NS + SECOND // 4, True),
        ("2026-01-01T01:00:00+01:00", START_NS, True),
    ],
)
def test_a_time_is_parsed(text, ns, absolute):
    assert Moment.read(text) == Moment(ns, absolute)


@pytest.mark.parametrize("text", ["", "-1", "nan", "inf", "soon", "@", "@yesterday", "1e30"])
def test_an_invalid_time_is_refused(text):
    with pytest.raises(ValueError, match="expected seconds from the bag's start"):
        Moment.read(text)


@given(rate=st.floats(0.5, 60), gaps=st.lists(st.integers(0, SECOND), max_size=80))
def test_the_rate_is_a_limit_and_is_used_fully(rate, gaps):
    times = list(itertools.accumulate(gaps, initial=START_NS))
    taken = _taken(rate, times)
    assert taken[0] == START_NS
    # One may come half a period late and another half a period early: of n in a row, the first and
    # the last are as far from each other as n - 1 of that rate at least.
    for one, later in itertools.combinations(range(len(taken)), 2):
        assert taken[later] - taken[one] >= (later - one - 1) * SECOND / rate
    # What comes a period after the last one is taken.
    for left_out in set(times) - set(taken):
        last = max(each for each in taken if each <= left_out)
        assert left_out - last <= SECOND / rate + 1


@pytest.mark.parametrize("rate", [0.3, 3, 10, 30])
@pytest.mark.parametrize("of_camera", [0.98, 0.999, 1, 1.001, 1.02, 1.5, 2, 3, 10])
def test_a_camera_with_jitter_loses_no_frames_at_its_rate(rate, of_camera):
    period, dice = SECOND / rate, random.Random(0)
    times = [
        START_NS + int((i + 1) * period / of_camera + dice.uniform(-0.05, 0.05) * period)
        for i in range(3000)
    ]
    expected = 3000 / max(1, of_camera)
    assert 0.995 * expected <= len(_taken(rate, sorted(times))) <= expected + 2


def test_a_saved_sampler_continues():
    times = [START_NS + i * 33_000_000 for i in range(100)]
    sampler, taken = Sampler(1, 7.0, START_NS), []
    for now in times:
        point = resume_point(sampler=sampler)
        sampler = resume.loads(resume.dumps(point), settings_from({}), [LEFT]).sampler
        if sampler.takes(_frame(now)):
            taken.append(now)
    assert taken == _taken(7.0, times)


def test_the_slowest_rate_takes_one():
    assert len(_taken(5e-324, [START_NS, START_NS + 10 * SECOND])) == 1


def _taken(rate, times):
    sampler = Sampler(1, rate, START_NS)
    return [now for now in times if sampler.takes(_frame(now))]


def test_every_nth_frame_of_each_topic():
    sampler = Sampler(3, 0, START_NS)
    taken = [
        (number, topic)
        for number in range(7) for topic in "ab"
        if sampler.takes(_frame(START_NS, topic))
    ]  # fmt: skip
    assert taken == [(number, topic) for number in (0, 3, 6) for topic in "ab"]


def _frame(log_ns, topic="a"):
    from deep_perception.replay.recordings.bags import RecordedFrame

    return RecordedFrame(
        topic=topic, type=bags.IMAGE, position=0, log_ns=log_ns, stamp_ns=0, frame_id="", data=b""
    )


def test_from_to_and_every_choose_the_frames(recording, tmp_path):
    every = {"keyframes.mode": "interval", "keyframes.min_interval_s": 0.0}
    summary, _ = replay(
        recording, tmp_path / "out", every,
        choice=Choice(topics=(LEFT,), start=Moment(SECOND), stop=Moment(2 * SECOND), every=2),
    )  # fmt: skip
    found = scenes(tmp_path / "out")
    with Recording(recording) as opened:
        start = opened.start_ns
        inside = [
            frame for frame in opened.frames([LEFT])
            if start + SECOND <= frame.log_ns < start + 2 * SECOND
        ]  # fmt: skip
    assert [each["position"] for each in found] == [frame.position for frame in inside[::2]]
    assert summary.counts.frames == len(inside) == 10
    assert summary.topics == (LEFT,)


def test_a_time_outside_of_the_recording_is_refused(recording, tmp_path):
    with pytest.raises(BagError, match=r"3\.\d s long and starts at 2026-01-01T00:00:00") as caught:
        replay(recording, tmp_path / "out", choice=Choice(start=Moment(60 * SECOND)))
    assert str(caught.value).startswith(f"{recording}: ")


def test_the_choice_of_topics():
    camera = "sensor_msgs/msg/Image"

    def choose(*names, wanted=()):
        return choose_topics(dict.fromkeys(names, (camera, 5)), wanted)

    taken, left_out = choose(
        "/front/image_raw", "/front/image_raw/compressed", "/rear/image/compressed",
        "/front/depth/image_raw", "/aligned_depth_to_color/image_raw", "/analyzer/labels",
        "/analyzer/annotated/compressed", "/depth/image/compressedDepth", "/deep_sea/image",
    )  # fmt: skip
    assert taken == ["/deep_sea/image", "/front/image_raw", "/rear/image/compressed"]
    assert left_out["/front/image_raw/compressed"] == "/front/image_raw shows the same"
    assert len(left_out) == 6
    assert choose("/front/depth/image", wanted=["/front/depth/image"])[0] == ["/front/depth/image"]
    with pytest.raises(ChoiceError, match="did you mean '/front/image_raw'"):
        choose("/front/image_raw", wanted=["/front/image"])
    with pytest.raises(ChoiceError, match="choose with --topic"):
        choose("/front/depth/image_raw")
    with pytest.raises(ChoiceError, match="no images"):
        choose_topics({"/front/image_raw": (camera, 0)}, [])
    # Noted by the recorder, and nothing came.
    silent = {"/a/image": (camera, 0), "/a/image/compressed": (camera, 3)}
    assert choose_topics(silent, [])[0] == ["/a/image/compressed"]


@pytest.mark.parametrize(
    ("topic", "encoding", "taken"),
    [
        ("/depth_camera/rgb/image_raw", "rgb8", True),
        ("/depth/color/image", "bgr8", True),
        ("/oak_depth/color/image_raw", "yuv422_yuy2", True),
        ("/depth_camera/image_raw", "rgb8", True),
        ("/front_depth_cam/image/compressed", "jpeg", True),
        ("/depth_camera/rgb/image_raw", "", True),
        ("/infra_camera/color", "rgb8", True),
        ("/depth_camera/infra1/image_rect_raw", "mono8", True),
        ("/camera/infra1/image_rect_raw", "mono16", True),
        ("/thermal/image_raw", "16UC1", True),
        ("/label_printer/camera/image_raw", "bgr8", True),
        ("/mask_inspection/image_raw", "bgr8", True),
        ("/segmentation_rig/left/image_raw", "rgb8", True),
        ("/depth_camera/depth/image_raw", "16UC1", False),
        ("/aligned_depth_to_color/image_raw", "16UC1", False),
        ("/camera/depth/colorized/image", "rgb8", False),
        ("/stereo/disparity", "mono8", False),
        ("/depth/image_rect_raw/compressed", "16UC1", False),
        ("/camera/depth/image_raw", "", False),
        ("/zed/zed_node/depth/depth_registered", "32FC1", False),
        ("/oak/stereo/image_raw", "16UC1", False),
        ("/range_image", "32FC1", False),
        ("/semantic_segmentation_front/image", "bgra8", False),
        ("/segmentation/labels_map", "rgb8", False),
        ("/analyzer/front/annotated/compressed", "jpeg", False),
        ("/detector/masks", "mono8", False),
    ],
)
def test_the_encoding_and_then_the_name_tell_photographs_from_depth(topic, encoding, taken):
    encodings = {"/front/image_raw": "rgb8", topic: encoding}
    found = dict.fromkeys(encodings, ("sensor_msgs/msg/Image", 5))
    chosen, left_out = choose_topics(found, [], encodings.__getitem__)
    assert (topic in chosen, topic in left_out) == (taken, not taken)


def test_a_thermal_camera_alone_is_taken_and_depth_alone_is_not():
    found = {"/sensor/image": ("sensor_msgs/msg/Image", 5)}
    assert choose_topics(found, [], lambda topic: "16UC1")[0] == ["/sensor/image"]
    with pytest.raises(ChoiceError, match="choose with --topic"):
        choose_topics({"/depth/image": found["/sensor/image"]}, [], lambda topic: "16UC1")


def test_an_error_names_the_first_of_many_topics():
    many = {f"/depth/{number:03}/image": ("sensor_msgs/msg/Image", 5) for number in range(500)}
    for wanted, said in [(), "choose with --topic"], [["/camera"], "there is no image topic"]:
        with pytest.raises(ChoiceError, match=said) as caught:
            choose_topics(many, wanted)
        assert "/depth/019/image and 480 more" in str(caught.value)
        assert len(str(caught.value)) < 1000


def test_a_line_is_the_scene(recording, tmp_path):
    replay(recording, tmp_path / "out", choice=Choice(topics=(LEFT,)))
    for line in (tmp_path / "out" / "scenes.jsonl").read_text().splitlines():
        assert to_line(from_line(line)) == line
        moved = dataclasses.replace(from_line(line), topic="/other")
        assert from_line(to_line(moved)).topic == "/other"


@pytest.fixture(scope="module")
def large():
    """The line of a scene with 150 regions of a 4K picture."""
    noise = np.random.default_rng(1)
    size, regions = Size(3840, 2160), []
    for index in range(1, 151):
        mask = np.zeros((360, 640), np.bool_)
        x, y = noise.integers(0, 580), noise.integers(0, 300)
        mask[y : y + 60, x : x + 60] = noise.random((60, 60)) < 0.98
        point = Point(int(x), int(y), "grid")
        regions.append(
            Region.from_mask(index=index, point=point, mask=mask, score=0.5, source=size)
        )
    scene = Scene(
        size=size, working_size=Size(640, 360), regions=tuple(regions), coverage=0.5,
        skipped_points=(), proposed_points=150, segmenter="s", segmenter_model="",
    )  # fmt: skip
    return to_line(dataclasses.replace(RECORD, scene=scene)), regions


def test_masks_are_decoded_on_demand_and_not_kept(large):
    line, regions = large
    tracemalloc.start()
    try:
        scene = from_line(line).scene
        _, read = tracemalloc.get_traced_memory()
        for region in scene.regions:
            region.source_mask(region.box)
            drawing.annotate(
                dataclasses.replace(scene, regions=(region,)), np.zeros((9, 16, 3), np.uint8)
            )
        _, used = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # Of the whole picture each is 8 MB.
    assert read < 10_000_000 and used < 20_000_000
    for region, expected in zip(scene.regions[:3], regions, strict=False):
        again = pickle.loads(pickle.dumps(region))
        for each in region, again, region.described(expected.description):
            np.testing.assert_array_equal(each.mask, expected.source_mask())
            np.testing.assert_array_equal(each.source_mask(), expected.source_mask())
            np.testing.assert_array_equal(
                each.source_mask(each.box), expected.source_mask(expected.box)
            )
            assert each.cut().box == masks.box_of(expected.source_mask())


@pytest.mark.parametrize(
    ("key", "value"),
    [("segmentation", {"size": [2160, 3840], "counts": "52203"}), ("segmentation", None),
     ("segmentation", {"size": [2160, 3840], "counts": "\ud800"}), ("segmentation", "o" * 50),
     ("segmentation", {"size": [2160, 3840], "counts": None}),
     ("segmentation", {"size": [2, 2], "counts": "13"}), ("area", None),
     ("bbox_xyxy", [0, 0, 9000, 4]), ("bbox_xyxy", [5, 5, 5, 6]), ("bbox_xyxy", [1e999] * 4)],
)  # fmt: skip
def test_a_damaged_region_is_reported_when_its_line_is_read(large, tmp_path, key, value):
    line, _ = large
    content = json.loads(line)
    content["regions"][3][key] = value
    (tmp_path / "scenes.jsonl").write_text(f"{line}\n{json.dumps(content)}\n")
    with pytest.raises(JournalError, match=r"scenes\.jsonl, line 2: not a scene: "):
        list(read_scenes(tmp_path / "scenes.jsonl"))


def depth_frame(number):
    """Three surfaces of a depth camera in mm; in every second frame one pixel is far away."""
    depth = np.full((120, 160), 2500, np.uint16)
    depth[:45], depth[40:90, 50:110] = 4000, 1200
    depth[:, :4] = 0
    depth[100, 20] = 60_000 if number % 2 else 2500
    return depth


def test_a_depth_camera_is_replayed_with_one_steady_range(tmp_path):
    frames = [depth_frame(number) for number in range(10)]
    bag = bags.write(
        tmp_path / "depth",
        [
            bags.Recorded("/camera", bags.IMAGE, START_NS + number * SECOND,
                          bags.image(frame, START_NS + number * SECOND, encoding="16UC1"))
            for number, frame in enumerate(frames)
        ],
    )  # fmt: skip
    replay(bag, tmp_path / "out", {"keyframes.mode": "interval"}, images="keyframes")
    found = scenes(tmp_path / "out")
    assert len(found) == len(frames)
    assert len({tuple(scene["intensity_range"]) for scene in found}) == 1
    what = {
        tuple((region["label"], region["text"]) for region in scene["regions"]) for scene in found
    }
    assert len(what) == 1 and len(found[0]["regions"]) >= 3
    # The images of the outputs are those that were analysed.
    with Recording(bag) as opened:
        frame, *_ = opened.frames(["/camera"])
        shown = frame.image(IntensityRange(*found[0]["intensity_range"]))
        assert frame.image(IntensityRange(0, 65535)).max() < 20 < shown.max()


def test_lines_of_the_first_version_are_read(large):
    line, _ = large
    content = json.loads(line)
    content["schema"] = "deep_perception.scene/1"
    del content["intensity_range"]
    for region in content["regions"]:
        region["rle"] = region.pop("segmentation")["counts"]
    old, new = from_line(json.dumps(content)).scene, from_line(line).scene
    assert [region.rle for region in old.regions] == [region.rle for region in new.regions]
    assert old.intensity_range is None


def test_every_key_is_documented(recording, tmp_path):
    replay(recording, tmp_path / "out", choice=Choice(topics=(LEFT,)))
    scene, *_ = scenes(tmp_path / "out")
    text = (ROOT / "docs" / "scenes.md").read_text()
    rows = [line.split("|")[1] for line in text.splitlines() if line.startswith("| `")]
    documented = re.findall(r"`(\w+)`", " ".join(rows))
    assert documented == [*scene, *scene["regions"][0]]
    assert scene["schema"] in text


# -- several together ---------------------------------------------------------------------------


def test_examples_are_the_scenes_of_several_replays_with_their_images(recording, tmp_path):
    other = bags.write_bag(tmp_path / "other.bag", bags.moving_scene(25), storage="ros1")
    tasks = []
    for bag, choice in ((recording, Choice(topics=(RIGHT,), start=Moment(SECOND))),
                        (other, Choice())):  # fmt: skip
        tasks.append(Task(bag=bag, folder=tmp_path / bag.stem, choice=choice))
        replay(bag, tasks[-1].folder, choice=choice)
    events = []
    examples = Examples(tasks, events.append)
    for _ in range(2):
        found = [(name, record.position, read_image()) for name, record, read_image in examples]
    expected = []
    for task in tasks:
        positions = {each["position"] for each in scenes(task.folder)}
        with Recording(task.bag) as opened:
            topics = task.choice.topics or list(opened.image_topics)
            expected += [
                (task.name, frame.position, frame.image())
                for frame in opened.frames(topics) if frame.position in positions
            ]  # fmt: skip
    assert [each[:2] for each in found] == [each[:2] for each in expected]
    assert {name for name, _, _ in found} == {"drive", "other"}
    shares = [each.share for each in events]
    assert shares == sorted(shares[: len(found)]) * 2
    assert 0 <= shares[0] < 0.5 < shares[-1] <= 1
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_array_equal(one[2], two[2])


@pytest.mark.parametrize("folder", ["g", "/g", "in between/g"])
def test_a_warning_does_not_contain_the_path_of_the_recording(tmp_path, monkeypatch, folder):
    monkeypatch.chdir(tmp_path)
    path = (tmp_path if folder == "/g" else Path()) / folder.strip("/") / "drive"
    bags.write_bag(path, bags.moving_scene(1))
    metadata = path / "metadata.yaml"

    def warnings():
        with Recording(path) as opened:
            return ReplaySource(opened, [TOPIC], 0, 1).warnings

    metadata.write_text("files: [bag/drive")
    (warning,) = warnings()
    assert "files: [bag/drive" in warning
    metadata.unlink()
    metadata.mkdir()
    (warning,) = warnings()
    assert "(drive/metadata.yaml: is no regular file)" in warning
    assert str(tmp_path) not in warning


def test_images_of_scenes_are_read_in_any_order(recording):
    with Recording(recording) as opened:
        source = ReplaySource(opened, [LEFT, RIGHT], opened.start_ns, opened.end_ns + 1)
        frames = list(opened.frames(source.topics))
        pictures = SceneImages(source)
        order = random.Random(4).sample(frames, 20) + frames[:5] + frames[:1]
        for frame in order:
            record = dataclasses.replace(RECORD, topic=frame.topic, position=frame.position,
                                       log_ns=frame.log_ns)  # fmt: skip
            np.testing.assert_array_equal(pictures.image(record), frame.image())
        gone = dataclasses.replace(RECORD, topic=LEFT, position=3, log_ns=START_NS + 60 * SECOND)
        with pytest.raises(BagError, match="any more"):
            pictures.image(gone)


RECORD = SceneRecord(topic="", position=0, log_ns=0, stamp_ns=0, frame_id="", keyframe=1,
                   reason="first", scene=Scene(
                       size=Size(160, 120), working_size=Size(160, 120), regions=(), coverage=0.0,
                       skipped_points=(), proposed_points=0, segmenter="s", segmenter_model="",
                   ))  # fmt: skip
