"""Whether the latest scene is the present one, as a consumer sees it."""

import json
import threading

import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image
from std_srvs.srv import SetBool

from deep_perception_msgs.msg import DescribedRegionArray, SceneState
from deep_perception_msgs.srv import GetScene
from support.chat_server import gated_server
from support.graph import LATCHED, UNWATCHED

pytestmark = [pytest.mark.ros, pytest.mark.chat]
NODE = "/now/analyzer"


def view(shade):
    """A view of three things; views of different shades are cuts."""
    image = np.full((240, 320, 3), (60 + shade, 150 - shade, 90), np.uint8)
    image[::8] = 255 - shade
    image[40:150, 60:180] = (30, shade, 200)
    image[170:220, 30 + shade : 100 + shade] = (30, 160, 30)
    image[20:90, 220:300] = (160, 30, shade)
    return image


@pytest.fixture(scope="module")
def gate():
    """Unset, the server keeps everybody waiting."""
    return threading.Event()


@pytest.fixture(scope="module")
def server(gate):
    with gated_server(gate) as server:
        yield server


@pytest.fixture(scope="module")
def node(start_module_node, server):
    return start_module_node(
        remaps=["__ns:=/now"],
        **UNWATCHED,
        **{"describer.backend": "chat", "describer.url": server.url, "describer.cache_size": 0},
    )


@pytest.fixture(scope="module")
def scenes(graph, node):
    return graph.listen(DescribedRegionArray, f"{NODE}/regions", LATCHED)


@pytest.fixture(scope="module")
def camera(graph, node):
    return graph.publisher(Image, "/now/image")


def get_scene(graph):
    answer = graph.call(GetScene, f"{NODE}/get_scene", GetScene.Request(include_masks=True))
    if answer.success:
        assert json.loads(answer.json)["state"] == answer.state.state
    return answer


def time_of(stamp):
    return stamp.sec, stamp.nanosec


def show_until(graph, camera, image, condition, what):
    """A camera of ten images a second."""
    return graph.publish_until(camera, lambda: graph.image(image), condition, what)


def test_the_boxes_of_a_view_are_there_while_a_slow_server_describes(
    graph, camera, gate, server, scenes
):
    gate.clear()
    assert not get_scene(graph).success
    show_until(graph, camera, view(0), lambda: scenes, "the first scene")
    answer = get_scene(graph)
    assert answer.success
    assert not answer.scene.complete
    assert len(answer.scene.regions) > 3
    assert all(region.mask.counts for region in answer.scene.regions)
    graph.until(lambda: server.requests, "a question")

    # A second frame of the camera may still be swept.
    def describing():
        answer = get_scene(graph)
        return answer if answer.state.activity == SceneState.DESCRIBING else None

    answer = graph.until(describing, "that the scene is being described")
    assert answer.state.pending == len(answer.scene.regions)
    # A cut: the new view's boxes do not wait for the old view's descriptions.
    first = scenes[-1].keyframe
    show_until(graph, camera, view(90), lambda: scenes[-1].keyframe > first, "the new view")
    answer = get_scene(graph)
    assert answer.scene.keyframe == scenes[-1].keyframe
    assert answer.state.state == SceneState.LIVE
    gate.set()
    graph.until(lambda: scenes[-1].complete, "the descriptions")


def test_an_old_scene_is_not_called_live(graph, camera, gate, scenes):
    gate.set()
    states = graph.listen(SceneState, f"{NODE}/scene_state", LATCHED)
    scene = graph.analysed(camera, scenes, graph.image(view(20)))
    keyframe, stamp = scene.keyframe, scene.header.stamp
    assert get_scene(graph).state.state == SceneState.LIVE

    # The view is another one within keyframes.min_interval_s, when no frame is a keyframe.
    def too_soon(image):
        message = graph.image(image)
        message.header.stamp.sec = stamp.sec
        message.header.stamp.nanosec = stamp.nanosec + 1
        return message

    graph.publish_until(
        camera,
        lambda: too_soon(view(120)),
        lambda: get_scene(graph).state.state == SceneState.VIEW_CHANGED,
        "that the view has changed",
    )
    assert get_scene(graph).scene.keyframe == keyframe
    graph.publish_until(
        camera,
        lambda: too_soon(view(20)),
        lambda: get_scene(graph).state.state == SceneState.LIVE,
        "that the view is back",
    )
    # Frames that cannot be decoded say nothing about the view.
    broken = graph.image(view(20))
    broken.encoding = "h264"
    graph.publish_until(
        camera,
        lambda: graph.stamp(broken),
        lambda: get_scene(graph).state.state == SceneState.UNREADABLE,
        "that no frame can be read",
    )
    assert "h264" in get_scene(graph).state.reason
    graph.until(lambda: get_scene(graph).state.state == SceneState.CAMERA_SILENT, "the silence")
    # Enabled again, it takes a frame to know.
    assert graph.call(SetBool, f"{NODE}/set_enabled", SetBool.Request(data=False)).success
    assert get_scene(graph).state.state == SceneState.DISABLED
    assert graph.call(SetBool, f"{NODE}/set_enabled", SetBool.Request(data=True)).success
    silent = get_scene(graph).state
    assert silent.state == SceneState.CAMERA_SILENT
    show_until(
        graph, camera, view(20), lambda: states[-1].state == SceneState.LIVE, "the live scene"
    )
    assert time_of(states[-1].since) > time_of(silent.since)
    assert SceneState.UNREADABLE in {state.state for state in states}


def test_a_late_subscriber_gets_the_drawn_scene_of_a_still_view(graph, camera, gate, scenes):
    gate.set()
    scene = graph.analysed(camera, scenes, graph.image(view(20)))
    drawn = graph.listen(CompressedImage, f"{NODE}/annotated/compressed", 1)
    graph.until(lambda: drawn, "the annotated image")
    assert drawn[0].header == scene.header
