"""The messages in the bag of a replay have the definitions and bytes of the node's messages."""

import dataclasses
import itertools
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from deep_perception.points import Point
from deep_perception.regions import Description
from deep_perception.replay.outputs.messages import keyframe_of, to_detections, to_regions
from deep_perception.replay.recordings import interfaces
from support import bags
from support.replay_bags import ROOT


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
