"""One node, several cameras: each has its outputs and its turns, and may change while it runs."""

import time
from collections import Counter

import numpy as np
import pytest
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from deep_perception_msgs.srv import GetScene
from support.graph import LATCHED, Diagnostics

pytestmark = pytest.mark.ros

NAMES = ("front", "rear")


def camera_image(width=320, height=240, color=(30, 30, 200)):
    image = np.full((height, width, 3), (190, 190, 190), np.uint8)
    image[height // 6 : height // 2, width // 5 : width // 2] = color
    return image


@pytest.fixture(scope="module")
def node(start_module_node):
    return start_module_node(
        remaps=["__ns:=/two", "rear/image:=/somewhere/rear/image_raw"],
        **{
            "ros.cameras": "front, rear",
            "ros.diagnostics_period_s": 0.1,
            "ros.input_timeout_s": 2.0,
            "keyframes.min_interval_s": 0.0,
        },
    )


@pytest.fixture(scope="module")
def scenes(graph, node):
    return {
        name: graph.listen(DescribedRegionArray, f"/two/analyzer/{name}/regions", LATCHED)
        for name in NAMES
    }


@pytest.fixture(scope="module")
def cameras(graph, node):
    return {
        "front": graph.publisher(Image, "/two/front/image"),
        "rear": graph.publisher(Image, "/somewhere/rear/image_raw"),
    }


def test_each_camera_has_its_own_scenes(graph, cameras, scenes):
    updates = graph.listen(DescribedRegion, "/two/analyzer/rear/region_updates", 200)
    front = graph.analysed(cameras["front"], scenes["front"], graph.image(camera_image()))
    rear = graph.analysed(cameras["rear"], scenes["rear"], graph.image(camera_image(400, 300)))
    assert (front.camera, front.width) == ("front", 320)
    assert (rear.camera, rear.width) == ("rear", 400)
    assert {region.camera for region in rear.regions} == {"rear"}
    graph.until(lambda: updates, "region updates of the rear camera")
    assert {update.camera for update in updates} == {"rear"}
    for name, width in (("front", 320), ("rear", 400)):
        answer = graph.call(GetScene, "/two/analyzer/get_scene", GetScene.Request(camera=name))
        assert answer.scene.width == width
    answer = graph.call(GetScene, "/two/analyzer/get_scene", GetScene.Request(camera="left"))
    assert answer.message == "there is no camera 'left'; there is front, rear"


def test_a_fast_camera_leaves_a_slow_one_its_turns(graph, cameras, scenes):
    scenes["front"].clear()

    def front_frames():
        # Every frame is a keyframe, and there are many more than can be analysed.
        for _ in range(3):
            cameras["front"].publish(graph.image(camera_image()))

    for _ in range(5):
        front_frames()
        sent = graph.image(camera_image(400, 300))
        due = 0.0

        def analysed(sent=sent):
            nonlocal due
            front_frames()
            if time.monotonic() > due:  # again only if it was lost: the way is best effort
                cameras["rear"].publish(sent)
                due = time.monotonic() + 5.0
            graph.spin(0.05)
            return any(scene.header == sent.header for scene in scenes["rear"])

        graph.until(analysed, "the slow camera's turn")
    assert len(scenes["front"]) >= 3


def test_a_camera_that_vanishes_is_reported_alone_and_the_others_go_on(
    graph, node, cameras, scenes
):
    diagnostics = Diagnostics(graph, "/two/analyzer")

    def rear_alone_is_missed():
        rear, front = diagnostics.last("rear input"), diagnostics.last("front input")
        return rear and (rear.level, front.level) == (b"\x02", b"\x00")

    graph.publish_until(
        cameras["front"],
        lambda: graph.image(camera_image()),
        rear_alone_is_missed,
        "the silence of the rear camera",
    )
    scene = graph.analysed(cameras["rear"], scenes["rear"], graph.image(camera_image(400, 300)))
    assert scene.regions
    graph.node.destroy_publisher(cameras.pop("rear"))
    graph.publish_until(
        cameras["front"],
        lambda: graph.image(camera_image()),
        lambda: diagnostics.reports("/two/front/image of other cameras of this node", "rear input"),
        diagnostics.last,
    )
    cameras["rear"] = graph.publisher(Image, "/somewhere/rear/image_raw")
    assert node.is_running


def test_resolution_and_encoding_change_while_running(graph, cameras, scenes):
    sizes = []
    for width, height, encoding in ((320, 240, "bgr8"), (640, 480, "rgb8"), (64, 48, "mono8")):
        pixels = camera_image(width, height)
        pixels = pixels[..., 0] if encoding == "mono8" else pixels
        scene = graph.analysed(cameras["front"], scenes["front"], graph.image(pixels, encoding))
        sizes.append((scene.width, scene.height))
        assert all(region.mask.width == width for region in scene.regions)
    assert sizes == [(320, 240), (640, 480), (64, 48)]


@pytest.mark.parametrize("names", ["front,front", "front,,rear", "9lives", "fr ont"])
def test_bad_names_are_refused_at_the_start(start_node, names):
    node = start_node(**{"ros.cameras": f"'{names}'"})
    assert node.wait() == 1
    assert "ros.cameras: " in node.log
    assert "Traceback" not in node.log
    assert Counter(node.log.splitlines()).most_common(1)[0][1] == 1
