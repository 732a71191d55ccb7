"""The node and a chat server: scenes first, descriptions later, also by the fallback."""

import threading
from collections import Counter

import numpy as np
import pytest
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from support.chat_server import Server, gated_server
from support.graph import LATCHED, UNWATCHED, Diagnostics

pytestmark = [pytest.mark.ros, pytest.mark.chat]


def camera_image():
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    image[170:220, 30:100] = (30, 160, 30)
    image[20:90, 220:300] = (160, 30, 30)
    return image


def describers(scene):
    return Counter((region.status, region.describer) for region in scene.regions)


@pytest.fixture(scope="module")
def gate():
    """Unset, the server answers one question and lets the others wait."""
    return threading.Event()


@pytest.fixture(scope="module")
def server(gate):
    with gated_server(gate, at_once=1) as server:
        yield server


@pytest.fixture(scope="module")
def node(start_module_node, server):
    return start_module_node(
        remaps=["__ns:=/words"],
        **{
            "describer.backend": "chat",
            "describer.url": server.url,
            "describer.max_concurrency": 2,
            "describer.cache_size": 0,
            **UNWATCHED,
            "ros.diagnostics_period_s": 0.1,
            # Every frame is described afresh.
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


@pytest.fixture(scope="module")
def diagnostics(graph, node):
    return Diagnostics(graph, "/words/analyzer")


def publish_until(graph, camera, condition, what):
    graph.publish_until(camera, lambda: graph.image(camera_image()), condition, what, period_s=1.0)


@pytest.fixture
def asked(graph, server, gate, camera, scenes, updates, diagnostics):
    """The node is idle, and the server is about to answer one question."""
    gate.set()
    graph.analysed(camera, scenes, graph.image(camera_image()))

    def idle():
        keys = ("replaced_by_newer", "between_keyframes", "failed", "outdated")
        done = sum(diagnostics.count(key) for key in keys)
        analysis = diagnostics.values("analysis")
        return (
            diagnostics.count("received") == done + int(analysis["keyframes"])
            and analysis["busy_s"] == "0.00"
            and analysis["pending_descriptions"] == "0"
            and server.now == 0
        )

    diagnostics.wait_for_new(2)
    graph.until(idle, "the end of all work")
    gate.clear()
    for kept in (server.requests, scenes, updates):
        kept.clear()


def test_a_scene_is_published_as_soon_as_it_is_swept_and_again_with_its_descriptions(
    graph, camera, gate, scenes, updates, asked
):
    publish_until(graph, camera, lambda: scenes, "the scene")
    assert set(describers(scenes[0])) == {("pending", "")}
    assert not scenes[0].complete
    graph.until(lambda: updates, "the first description")
    assert len(updates) == 1
    assert updates[0].status == DescribedRegion.STATUS_DESCRIBED
    gate.set()
    scene = graph.until(lambda: next((s for s in scenes if s.complete), None), "the descriptions")
    assert set(describers(scene)) == {("described", "chat")}

    def updated():
        return {update.index for update in updates if update.header == scene.header}

    # Topics have no common order: an update may arrive after the scene.
    graph.until(lambda: updated() == {region.index for region in scene.regions}, "all updates")


def test_each_track_is_asked_about_once_while_it_is_in_view(
    graph, camera, gate, server, scenes, asked
):
    """Every frame is a keyframe, and the server keeps the node waiting."""
    graph.publish_until(
        camera,
        lambda: graph.image(camera_image()),
        lambda: len({scene.keyframe for scene in scenes}) >= 4,
        "four keyframes",
        period_s=1.0,
    )
    gate.set()
    graph.until(lambda: scenes[-1].complete, "the descriptions")
    # The server answered the first question at once, and descriptions are not reused here.
    assert len(server.requests) <= len(scenes[-1].regions) + 1


def test_descriptions_of_the_fallback_are_replaced_when_the_server_comes(graph, start_node):
    with Server() as unused:
        port = unused.port
    node = start_node(
        remaps=["__ns:=/late"],
        **UNWATCHED,
        **{"describer.backend": "chat", "describer.url": f"http://127.0.0.1:{port}/v1"},
    )
    scenes = graph.listen(DescribedRegionArray, "/late/analyzer/regions", LATCHED)
    updates = graph.listen(DescribedRegion, "/late/analyzer/region_updates", 200)
    camera = graph.publisher(Image, "/late/image")
    graph.analysed(camera, scenes, graph.image(camera_image()))
    first = graph.until(lambda: next((s for s in scenes if s.complete), None), "the fallback")
    assert set(describers(first)) == {("described", "attributes")}
    assert "no connection" in first.warnings[0]
    graph.until(lambda: len(updates) >= len(first.regions), "the updates of the fallback")
    updates.clear()
    with Server(port=port):
        better = graph.until(
            lambda: next(
                (s for s in scenes if set(describers(s)) == {("described", "chat")}), None
            ),
            lambda: f"descriptions of the server; {node.log}",
        )
    assert list(better.warnings) == []
    assert {update.describer for update in updates} == {"chat"}
    # The largest first.
    areas = {region.index: region.area for region in better.regions}
    assert updates[0].area == max(areas.values())
    assert " describes regions again" in node.log
