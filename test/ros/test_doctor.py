"""``deep_perception doctor`` beside a running node and a camera."""

import contextlib
import threading

import numpy as np
import pytest
from sensor_msgs.msg import Image

pytestmark = pytest.mark.ros


@contextlib.contextmanager
def camera(topic, encoding="bgr8", channels=3, name="front_camera"):
    """Publish images of 64x48 at 20 Hz, from a node of its own."""
    from support.graph import Graph

    graph = Graph(name)
    publisher = graph.node.create_publisher(Image, topic, 5)
    message = Image(height=48, width=64, encoding=encoding, step=64 * channels)
    message.data.frombytes(np.zeros((48, 64, channels), np.uint8).tobytes())
    ended = threading.Event()

    def publish():
        while not ended.wait(0.05):
            message.header.stamp = graph.node.get_clock().now().to_msg()
            publisher.publish(message)

    thread = threading.Thread(target=publish)
    thread.start()
    try:
        yield graph
    finally:
        ended.set()
        thread.join()
        graph.close()


@pytest.mark.slow
def test_a_running_node_and_its_camera(graph, start_node):
    from deep_perception.ros.doctor import check_graph

    start_node(remaps=["image:=/front/image_raw"])
    with camera("/front/image_raw"), camera("/odd/image", "yuv999", name="odd_camera"):
        graph.until(lambda: state(graph) == "active", "the node to be active")

        def looked():
            """On a busy machine one look may be over before the graph is known."""
            found = check_graph(listen_s=1.0)
            topics = [each.what for each in found[0] if each.section == "Image topics"]
            return found if len(topics) == 2 and found[1] else None

        findings, nodes = graph.until(looked, "both topics and the node")
    assert [(each["segmenter.backend"], each["describer.backend"]) for each in nodes] == [
        ("superpixels", "attributes")
    ]
    lines = [(each.level, each.what) for each in findings]
    assert ("ok", "/analyzer is active (segmenter superpixels, describer attributes)") in lines
    (front,) = [line for line in lines if line[1].startswith("/front/image_raw")]
    assert front[0] == "ok"
    assert "Image, reliable, from /front_camera" in front[1]
    assert "64x48 bgr8" in front[1]
    assert "Hz" in front[1]
    (odd,) = [line for line in lines if line[1].startswith("/odd/image")]
    assert odd[0] == "wrong"
    assert "unsupported encoding: 64x48 yuv999" in odd[1]
    assert any(what.startswith("/analyzer input: images arrive") for _, what in lines)
    assert any(what.startswith("ROS 2 ") and "rmw_" in what for _, what in lines)
    # It does not make the node draw.
    assert not any(what.startswith("/analyzer/annotated") for _, what in lines)


def state(graph):
    from lifecycle_msgs.srv import GetState

    return graph.call(GetState, "/analyzer/get_state", GetState.Request()).current_state.label


def test_an_empty_graph(graph):
    from deep_perception.ros.doctor import check_graph

    findings, nodes = check_graph(listen_s=0.1)
    assert nodes == []
    text = " ".join(each.what for each in findings)
    assert "no image topic has a publisher" in text
    assert "no analyzer node is running here" in text
    assert all(each.level != "wrong" for each in findings)
