"""How the node finds its input, and how it reports that no image arrives."""

import itertools

import cv2
import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from deep_perception_msgs.msg import DescribedRegionArray
from support.graph import LATCHED, UNWATCHED, Diagnostics

pytestmark = pytest.mark.ros

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
OFTEN = {"ros.diagnostics_period_s": 0.1}
SOON = {"ros.input_timeout_s": 1.0, **OFTEN}


def camera_image(width=320):
    image = np.full((240, width, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    return image


def compressed(graph, extension=".jpg", format_="bgr8; jpeg compressed bgr8"):
    _, data = cv2.imencode(extension, camera_image())
    message = CompressedImage(format=format_)
    message.data.frombytes(data.tobytes())
    return graph.stamp(message)


@pytest.fixture(scope="module")
def transported(graph, start_module_node):
    """The publisher and the detections of an image_transport camera that a node has found."""
    start_module_node(remaps=["image:=/transported/image_raw", "__ns:=/transported"], **UNWATCHED)
    detections = graph.listen(Detection2DArray, "/transported/analyzer/detections")
    return graph.publisher(CompressedImage, "/transported/image_raw/compressed"), detections


@pytest.mark.slow
@pytest.mark.parametrize(
    ("extension", "format_"),
    [
        (".jpg", "bgr8; jpeg compressed bgr8"),
        (".jpg", "jpeg"),
        (".png", "png"),
        (".png", "rgb8; png compressed bgr8"),
    ],
)
def test_compressed_images_of_an_image_transport_camera_are_found(
    graph, transported, extension, format_
):
    camera, detections = transported
    sent = compressed(graph, extension, format_)
    assert len(graph.analysed(camera, detections, sent).detections) >= 2


def test_a_compressed_topic_can_be_named_itself(graph, start_node):
    start_node(remaps=["image:=/direct/image/compressed", "__ns:=/direct"])
    detections = graph.listen(Detection2DArray, "/direct/analyzer/detections")
    camera = graph.publisher(CompressedImage, "/direct/image/compressed")
    assert graph.analysed(camera, detections, compressed(graph)).detections


@pytest.mark.parametrize("transport", ["raw", "compressed"])
def test_a_latched_image_that_was_published_before_the_start_arrives(graph, start_node, transport):
    kind, topic = {
        "raw": (Image, f"/latched_{transport}/image"),
        "compressed": (CompressedImage, f"/latched_{transport}/image/compressed"),
    }[transport]
    latched = graph.publisher(kind, topic, LATCHED, matched=False)
    sent = graph.image(camera_image()) if transport == "raw" else compressed(graph)
    latched.publish(sent)
    start_node(remaps=[f"__ns:=/latched_{transport}"], **SOON)
    scenes = graph.listen(DescribedRegionArray, f"/latched_{transport}/analyzer/regions", LATCHED)
    graph.answer(scenes, sent)
    diagnostics = Diagnostics(graph, f"/latched_{transport}/analyzer")
    graph.until(lambda: diagnostics.reports("the latched image arrived"), diagnostics.last)
    assert diagnostics.last().level == b"\x00"
    # A camera that comes later is heard beside it, and so is a new latched image.
    camera = graph.publisher(kind, topic, BEST_EFFORT)
    make = (
        (lambda: graph.image(camera_image())) if transport == "raw" else lambda: compressed(graph)
    )
    graph.analysed(camera, scenes, make())
    newer = make()
    latched.publish(newer)
    graph.answer(scenes, newer)


def test_raw_is_preferred_when_both_are_published(graph, start_node):
    jpeg = graph.publisher(CompressedImage, "/both/image/compressed", matched=False)
    raw = graph.publisher(Image, "/both/image", matched=False)
    start_node(remaps=["__ns:=/both"])
    detections = graph.listen(Detection2DArray, "/both/analyzer/detections")
    assert graph.analysed(raw, detections, graph.image(camera_image())).detections
    assert jpeg.get_subscription_count() == 0


def test_the_transport_can_be_fixed(graph, start_node):
    raw = graph.publisher(Image, "/fixed/image", matched=False)
    start_node(remaps=["__ns:=/fixed"], **{"ros.transport": "compressed"})
    detections = graph.listen(Detection2DArray, "/fixed/analyzer/detections")
    camera = graph.publisher(CompressedImage, "/fixed/image/compressed")
    assert graph.analysed(camera, detections, compressed(graph)).detections
    assert raw.get_subscription_count() == 0


def test_silence_names_the_nearest_image_topic(graph, start_node):
    graph.publisher(Image, "/robot/front_camera/image_raw", matched=False)
    node = start_node(remaps=["image:=/robot/front/image_raw", "__ns:=/lost"], **SOON)
    diagnostics = Diagnostics(graph, "/lost/analyzer")
    expected = (
        "/robot/front/image_raw has no publisher; the nearest image topic is "
        "/robot/front_camera/image_raw: remap with -r image:=/robot/front_camera/image_raw"
    )
    graph.until(lambda: diagnostics.reports(expected), lambda: f"{expected}; {diagnostics.last()}")
    diagnostics.wait_for_new(5)
    assert node.log.count(expected) == 1


def test_silence_names_a_wrong_type(graph, start_node):
    graph.publisher(String, "/wrong/image", matched=False)
    start_node(remaps=["__ns:=/wrong"], **SOON)
    diagnostics = Diagnostics(graph, "/wrong/analyzer")
    expected = "/wrong/image carries std_msgs/msg/String, expected sensor_msgs/msg/Image"
    graph.until(lambda: diagnostics.reports(expected), lambda: f"{expected}; {diagnostics.last()}")


def test_silence_names_incompatible_qos(graph, start_node):
    camera = graph.publisher(Image, "/qos/image", BEST_EFFORT, matched=False)
    start_node(remaps=["__ns:=/qos"], **SOON, **{"ros.reliability": "reliable"})
    diagnostics = Diagnostics(graph, "/qos/analyzer")
    graph.publish_until(
        camera,
        lambda: graph.image(camera_image()),
        lambda: diagnostics.reports("set ros.reliability to best_effort"),
        "the explanation",
    )


@pytest.mark.parametrize(
    ("transport", "kind", "topic"),
    [("compressed", Image, "/other/image"), ("raw", CompressedImage, "/other/image/compressed")],
)
def test_silence_names_the_other_transport(graph, start_node, transport, kind, topic):
    publisher = graph.publisher(kind, topic, matched=False)
    start_node(
        remaps=["__ns:=/other", f"__node:={transport}"], **SOON, **{"ros.transport": transport}
    )
    diagnostics = Diagnostics(graph, f"/other/{transport}")
    graph.until(lambda: diagnostics.reports("set ros.transport to auto"), "the explanation")
    graph.node.destroy_publisher(publisher)


def test_a_stream_of_a_kind_that_cannot_be_decoded_is_one_line(graph, start_node):
    node = start_node(
        remaps=["__ns:=/video"], **OFTEN, **UNWATCHED, **{"ros.transport": "compressed"}
    )
    diagnostics = Diagnostics(graph, "/video/analyzer")
    camera = graph.publisher(CompressedImage, "/video/image/compressed")
    sizes = itertools.count(500)
    graph.publish_until(
        camera,
        lambda: graph.stamp(CompressedImage(format="h264", data=bytes(next(sizes)))),
        lambda: diagnostics.count("failed") >= 40,
        "40 of them",
        period_s=0.03,
    )
    assert node.log.count("h264") == 1
    assert "/video/image/compressed: " in node.log
