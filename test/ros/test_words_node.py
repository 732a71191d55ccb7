"""The node and a chat server: words early, pending, given way, from the fallback, and better."""

import threading
from collections import Counter

import numpy as np
import pytest
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from support.chat_server import GOOD, Server
from support.graph import LATCHED

pytestmark = [pytest.mark.ros, pytest.mark.chat]


def picture():
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    image[170:220, 30:100] = (30, 160, 30)
    image[20:90, 220:300] = (160, 30, 30)
    return image


def words(scene):
    return Counter((region.status, region.describer) for region in scene.regions)


@pytest.fixture(scope="module")
def gate():
    """Unset, the server answers one question and lets the others wait."""
    return threading.Event()


@pytest.fixture(scope="module")
def server(gate):
    def answer(request):
        if len(server.requests) > 1:
            gate.wait(120)
        return GOOD

    with Server(answer) as server:
        yield server
        gate.set()


@pytest.fixture(scope="module")
def node(start_module_node, server):
    return start_module_node(
        remaps=["__ns:=/words"],
        **{
            "describer.backend": "chat",
            "describer.url": server.url,
            "describer.max_concurrency": 2,
            "describer.cache_size": 0,
            # Every picture is described afresh.
            "keyframes.mode": "interval",
            "identity.words_ttl_s": 0.0,
        },
    )


@pytest.fixture(scope="module")
def scenes(graph, node):
    return graph.listen(DescribedRegionArray, "/words/analyzer/regions", LATCHED)


@pytest.fixture(scope="module")
def updates(graph, node):
    return graph.listen(DescribedRegion, "/words/analyzer/region_updates", 200)


@pytest.fixture(scope="module")
def camera(graph, node):
    return graph.publisher(Image, "/words/image")


def keep_publishing(graph, camera, condition, what):
    """Publish one picture every few moments, for best effort may lose it."""

    def again():
        if not condition():
            camera.publish(graph.image(picture()))
            graph.spin(1.0)
        return condition()

    graph.until(again, what)


@pytest.fixture
def asked(graph, server, gate, scenes, updates):
    """Nothing is under way, and the server is about to answer one question."""
    gate.set()
    graph.spin(1.5)
    gate.clear()
    for kept in (server.requests, scenes, updates):
        kept.clear()


def test_words_are_published_before_the_scene_and_the_rest_later(
    graph, camera, gate, scenes, updates, asked
):
    keep_publishing(graph, camera, lambda: updates, "the first words")
    assert not scenes
    assert len(updates) == 1
    assert updates[0].status == DescribedRegion.STATUS_DESCRIBED
    gate.set()
    scene = graph.until(lambda: scenes, "the scene")[0]
    assert set(words(scene)) == {("described", "chat")}
    assert scene.complete
    of_scene = [each for each in updates if each.header == scene.header]
    assert sorted(each.index for each in of_scene) == [each.index for each in scene.regions]


def test_at_the_deadline_the_rest_is_pending_and_described_when_no_frame_comes(
    graph, camera, gate, scenes, asked
):
    assert graph.set_parameter("/words/analyzer", "describer.scene_deadline_s", 1.0).successful
    try:
        keep_publishing(graph, camera, lambda: scenes, "the scene")
    finally:
        graph.set_parameter("/words/analyzer", "describer.scene_deadline_s", 0.0)
    first = scenes[0]
    assert words(first)["described", "chat"] == 1
    assert words(first)["pending", ""] == len(first.regions) - 1
    assert not first.complete
    gate.set()
    whole = graph.until(lambda: next((each for each in scenes if each.complete), None), "the rest")
    assert set(words(whole)) == {("described", "chat")}


def test_a_newer_keyframe_cancels_the_words_of_the_older(graph, camera, gate, scenes, asked):
    assert graph.set_parameter("/words/analyzer", "describer.new_keyframe", "cancel").successful
    try:
        # Each picture is a keyframe: the one that waits ends the one in hand.
        keep_publishing(graph, camera, lambda: scenes, "the scene that gave way")
    finally:
        graph.set_parameter("/words/analyzer", "describer.new_keyframe", "finish")
    assert words(scenes[0])["described", "chat"] == 1
    assert words(scenes[0])["pending", ""] == len(scenes[0].regions) - 1
    gate.set()
    newer = graph.until(
        lambda: next((each for each in scenes if each.complete), None), "the newer scene"
    )
    assert newer.keyframe > scenes[0].keyframe


def test_words_of_the_fallback_are_replaced_when_the_server_comes(graph, start_node):
    with Server() as unused:
        port = unused.port
    node = start_node(
        remaps=["__ns:=/late"],
        **{"describer.backend": "chat", "describer.url": f"http://127.0.0.1:{port}/v1"},
    )
    scenes = graph.listen(DescribedRegionArray, "/late/analyzer/regions", LATCHED)
    updates = graph.listen(DescribedRegion, "/late/analyzer/region_updates", 200)
    camera = graph.publisher(Image, "/late/image")
    first = graph.analysed(camera, scenes, graph.image(picture()))
    assert set(words(first)) == {("described", "attributes")}
    assert "no connection" in first.warnings[0]
    graph.spin(1.0)
    updates.clear()
    with Server(port=port):
        better = graph.until(
            lambda: next((s for s in scenes if set(words(s)) == {("described", "chat")}), None),
            lambda: f"better words; {node.log}",
        )
    assert list(better.warnings) == []
    assert {each.describer for each in updates} == {"chat"}
    # The largest first.
    areas = {each.index: each.area for each in better.regions}
    assert updates[0].area == max(areas.values())
    assert " describes regions again" in node.log
