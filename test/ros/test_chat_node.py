"""The node and a chat server: the counts in the diagnostics, and an end that is not held up."""

import signal
import threading

import numpy as np
import pytest
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegionArray
from support.chat_server import GOOD, Reply, Server
from support.graph import LATCHED, UNWATCHED, Diagnostics

pytestmark = [pytest.mark.ros, pytest.mark.chat]


def camera_image():
    image = np.full((240, 320, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    image[170:220, 30:100] = (30, 160, 30)
    return image


def start(start_node, server, namespace, **parameters):
    return start_node(
        remaps=[f"__ns:=/{namespace}"],
        **{
            "describer.backend": "chat",
            "describer.url": server.url,
            **UNWATCHED,
            "ros.diagnostics_period_s": 0.1,
            # Every frame is described afresh.
            "keyframes.mode": "interval",
            "keyframes.min_interval_s": 0.0,
            "identity.words_ttl_s": 0.0,
            **parameters,
        },
    )


def test_a_frame_that_was_described_before_is_not_asked_about_again(graph, start_node):
    with Server() as server:
        start(start_node, server, "again")
        scenes = graph.listen(DescribedRegionArray, "/again/analyzer/regions", LATCHED)
        diagnostics = Diagnostics(graph, "/again/analyzer")
        camera = graph.publisher(Image, "/again/image")

        graph.publish_until(
            camera,
            lambda: graph.image(camera_image()),
            lambda: len({scene.keyframe for scene in scenes if scene.complete}) >= 3,
            "three described scenes",
            period_s=0.5,
        )
        regions = len(scenes[0].regions)
        assert len(server.requests) == regions
        described = [scene for scene in scenes if scene.complete]
        assert [r.description for r in described[-1].regions] == [
            r.description for r in described[0].regions
        ]

        def counted():
            values = diagnostics.values("analysis")
            return (
                values["regions_asked"] == values["cache_misses"] == str(regions)
                and int(values["cache_hits"]) >= 2 * regions
            )

        graph.until(counted, lambda: f"the counts in {diagnostics.last('analysis')}")


@pytest.mark.parametrize("status", [400, 401])
def test_no_secret_is_published_or_logged(graph, start_node, status):
    reply = Reply({"error": {"message": "wrong: robot:hunter2/Wx7 'hunter2%2FWx7'"}}, status)
    with Server(lambda request: reply) as server:
        namespace = f"secret{status}"
        node = start(
            start_node,
            server,
            namespace,
            **{
                "describer.url": server.url.replace("//", "//robot:hunter2%2FWx7@")
                + "?key=k3yK3y88",
                "describer.fallback": "attributes",
            },
        )
        scenes = graph.listen(DescribedRegionArray, f"/{namespace}/analyzer/regions", LATCHED)
        diagnostics = Diagnostics(graph, f"/{namespace}/analyzer")
        camera = graph.publisher(Image, f"/{namespace}/image")
        graph.publish_until(
            camera,
            lambda: graph.image(camera_image()),
            lambda: scenes and diagnostics.last("analysis") is not None and node.log,
            "a scene",
            period_s=0.5,
        )
        graph.until(
            lambda: diagnostics.last("analysis").level != b"\0", lambda: "a problem in diagnostics"
        )
        shown = f"{scenes} {diagnostics.arrays()} {node.log}"
    assert "***" in shown
    for part in ("hunter2", "Wx7", "k3yK3y"):
        assert part not in shown


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_silent_server_does_not_hold_up_the_end(graph, start_node, number):
    stop, asked = threading.Event(), threading.Event()

    def answer(request):
        asked.set()
        stop.wait(120)
        return GOOD

    with Server(answer) as server:
        node = start(start_node, server, f"silent{int(number)}")
        camera = graph.publisher(Image, f"/silent{int(number)}/image")

        try:
            graph.publish_until(
                camera,
                lambda: graph.image(camera_image()),
                asked.is_set,
                "a question",
                period_s=0.5,
            )
            node.send_signal(number)
            # The server is silent for 120 s, and a region's time is 60 s.
            assert node.wait(30) == 0
            assert "Traceback" not in node.log
        finally:
            stop.set()
