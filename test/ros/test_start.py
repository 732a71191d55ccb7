"""How the node starts, finds its input, and says what is wrong."""

import signal
import time

import cv2
import numpy as np
import pytest
from diagnostic_msgs.msg import DiagnosticArray
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import String
from vision_msgs.msg import Detection2DArray

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from support.graph import LATCHED

pytestmark = pytest.mark.ros

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
SOON = {"ros.input_timeout_s": 1.0, "ros.diagnostics_period_s": 0.2}


def picture(width=320):
    image = np.full((240, width, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    return image


def compressed(graph, extension=".jpg", format_="bgr8; jpeg compressed bgr8"):
    _, data = cv2.imencode(extension, picture())
    message = CompressedImage(format=format_)
    message.data.frombytes(data.tobytes())
    return graph.stamp(message)


def input_messages(diagnostics, node):
    return [
        status.message
        for message in diagnostics
        for status in message.status
        if status.hardware_id == node and status.name.endswith(": input")
    ]


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("points.grid_rows", 0, "points.grid_rows: 0 is not allowed; expected a whole number"),
        ("sweep.overlap", "clip", "sweep.overlap: 'clip' is not allowed; expected one of allow"),
        ("keyframes.min_interval_s", 3, "keyframes.min_interval_s: 3 is not allowed"),
        ("points.inside", "maybe", "points.inside: 'maybe' is not allowed; expected true"),
    ],
)
def test_a_bad_parameter_at_start_is_one_clear_line(start_node, name, value, said):
    node = start_node(**{name: value})
    assert node.process.wait(timeout=40) == 1
    assert said in node.log
    assert "Traceback" not in node.log


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
    graph, start_node, extension, format_
):
    tag = f"c{extension[1:]}{len(format_)}"
    start_node(remaps=[f"image:=/{tag}/image_raw", f"__ns:=/{tag}"])
    detections = graph.listen(Detection2DArray, f"/{tag}/analyzer/detections")
    camera = graph.publisher(CompressedImage, f"/{tag}/image_raw/compressed")
    sent = compressed(graph, extension, format_)
    assert len(graph.analysed(camera, detections, sent).detections) >= 2


def test_a_compressed_topic_can_be_named_itself(graph, start_node):
    start_node(remaps=["image:=/direct/image/compressed", "__ns:=/direct"])
    detections = graph.listen(Detection2DArray, "/direct/analyzer/detections")
    camera = graph.publisher(CompressedImage, "/direct/image/compressed")
    assert graph.analysed(camera, detections, compressed(graph)).detections


def test_raw_is_preferred_when_both_are_published(graph, start_node):
    jpeg = graph.publisher(CompressedImage, "/both/image/compressed", matched=False)
    raw = graph.publisher(Image, "/both/image", matched=False)
    start_node(remaps=["__ns:=/both"])
    detections = graph.listen(Detection2DArray, "/both/analyzer/detections")
    assert graph.analysed(raw, detections, graph.image(picture())).detections
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
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    expected = (
        "nobody publishes /robot/front/image_raw; the nearest image topic is "
        "/robot/front_camera/image_raw: remap with -r image:=/robot/front_camera/image_raw"
    )

    def said():
        return input_messages(diagnostics, "/lost/analyzer")[-1:]

    graph.until(lambda: expected in "".join(said()), lambda: f"{expected!r}, got {said()}")
    graph.spin(1.0)
    assert node.log.count(expected) == 1


def test_silence_names_a_wrong_type(graph, start_node):
    graph.publisher(String, "/wrong/image", matched=False)
    start_node(remaps=["__ns:=/wrong"], **SOON)
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    graph.until(
        lambda: any(
            "/wrong/image carries std_msgs/msg/String, expected sensor_msgs/msg/Image" in each
            for each in input_messages(diagnostics, "/wrong/analyzer")
        ),
        "the explanation",
    )


def test_silence_names_incompatible_qos(graph, start_node):
    camera = graph.publisher(Image, "/qos/image", BEST_EFFORT, matched=False)
    start_node(remaps=["__ns:=/qos"], **SOON, **{"ros.reliability": "reliable"})
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")

    def explained():
        camera.publish(graph.image(picture()))
        return any(
            "set ros.reliability to best_effort" in each
            for each in input_messages(diagnostics, "/qos/analyzer")
        )

    graph.until(explained, "the explanation")


def test_images_without_a_stamp_are_analysed_more_than_once(graph, start_node):
    node = start_node(
        remaps=["__ns:=/bare"],
        **{"keyframes.min_interval_s": 0.2, "keyframes.mode": "interval"},
    )
    scenes = graph.listen(DescribedRegionArray, "/bare/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, "/bare/image")
    message = graph.image(picture())
    message.header.stamp.sec = message.header.stamp.nanosec = 0

    def three():
        camera.publish(message)
        return len(scenes) >= 3

    graph.until(three, "three scenes")
    assert node.log.count("have no stamp") == 1


def test_the_newest_frame_wins(graph, start_node, backends):
    start_node(
        remaps=["__ns:=/fast"],
        python_path=backends,
        **SOON,
        **{"keyframes.min_interval_s": 0.0, "describer.backend": "test_backends:Slow"},
    )
    detections = graph.listen(Detection2DArray, "/fast/analyzer/detections", 100)
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    camera = graph.publisher(Image, "/fast/image")
    graph.analysed(camera, detections, graph.image(picture()))
    before = len(detections)
    burst = [graph.image(picture()) for _ in range(10)]
    for message in burst:
        camera.publish(message)
        graph.spin(0.05)
    graph.analysed(camera, detections, burst[-1])
    assert len(detections) - before <= 5

    def replaced():
        values = [
            int(value.value)
            for message in diagnostics
            for status in message.status
            if status.hardware_id == "/fast/analyzer"
            for value in status.values
            if value.key == "replaced_by_newer"
        ]
        return values and values[-1] >= 5

    graph.until(replaced, "the count of replaced frames")


BACKENDS = """
import time
from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description
from deep_perception.segmenters.superpixels import Superpixels

class Slow(Attributes):
    def describe(self, image, regions):
        time.sleep(1.0)
        yield from super().describe(image, regions)

class VerySlow(Attributes):
    def describe(self, image, regions):
        for number, found in enumerate(super().describe(image, regions)):
            time.sleep(2.0)
            yield found

class SlowStart(Attributes):
    def __init__(self):
        print("loading", flush=True)
        time.sleep(6.0)

class Numbered(Attributes):
    calls = 0
    def describe(self, image, regions):
        Numbered.calls += 1
        raise TimeoutError(f"request {Numbered.calls} timed out")
        yield

class Broken(Attributes):
    name = "broken"
    def describe(self, image, regions):
        yield next(iter(regions)), Description(status="failed", error="no model is loaded")
        raise ConnectionError("endpoint down")

class Segmenter(Superpixels):
    frames = 0
    def embed(self, image):
        Segmenter.frames += 1
        if Segmenter.frames == 1:
            raise RuntimeError("out of memory")
        if Segmenter.frames == 2:
            raise SystemExit("a library that thinks it is a program")
        return super().embed(image)
"""


@pytest.fixture
def backends(tmp_path):
    (tmp_path / "test_backends.py").write_text(BACKENDS)
    return str(tmp_path)


def test_the_node_outlives_a_failing_frame_and_a_failing_describer(graph, start_node, backends):
    node = start_node(
        remaps=["__ns:=/broken"],
        python_path=backends,
        **{
            "describer.backend": "test_backends:Broken",
            "segmenter.backend": "test_backends:Segmenter",
        },
    )
    scenes = graph.listen(DescribedRegionArray, "/broken/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, "/broken/image")

    def analysed():
        camera.publish(graph.image(picture()))
        return scenes

    scene = graph.until(analysed, "a scene after the failing frame")[0]
    assert "a frame could not be analysed: RuntimeError: out of memory" in node.log
    assert "a frame could not be analysed: SystemExit: a library that thinks" in node.log
    errors = {region.error for region in scene.regions}
    assert errors == {"no model is loaded", "ConnectionError: endpoint down"}
    for region in scene.regions:
        assert region.status == DescribedRegion.STATUS_FAILED
        assert region.description == region.label == ""
        assert region.mask.counts
    assert node.process.poll() is None


def test_the_same_failure_of_every_keyframe_is_one_line(graph, start_node, backends):
    node = start_node(
        remaps=["__ns:=/numbered"],
        python_path=backends,
        **SOON,
        **{"describer.backend": "test_backends:Numbered"},
    )
    detections = graph.listen(Detection2DArray, "/numbered/analyzer/detections")
    camera = graph.publisher(Image, "/numbered/image")
    for _ in range(4):
        graph.analysed(camera, detections, graph.image(picture()))
        graph.spin(0.5)
    assert node.log.count("timed out") == 1


def test_a_stream_of_a_kind_that_cannot_be_decoded_is_one_line(graph, start_node):
    node = start_node(remaps=["__ns:=/video"], **SOON, **{"ros.transport": "compressed"})
    camera = graph.publisher(CompressedImage, "/video/image/compressed")
    for size in range(500, 540):
        message = CompressedImage(format="h264", data=bytes(size))
        camera.publish(graph.stamp(message))
        graph.spin(0.05)
    assert node.log.count("h264") == 1
    assert "/video/image/compressed: " in node.log


@pytest.mark.parametrize(
    ("transport", "kind", "topic"),
    [("compressed", Image, "/other/image"), ("raw", CompressedImage, "/other/image/compressed")],
)
def test_silence_names_the_other_transport(graph, start_node, transport, kind, topic):
    publisher = graph.publisher(kind, topic, matched=False)
    start_node(remaps=["__ns:=/other"], **SOON, **{"ros.transport": transport})
    diagnostics = graph.listen(DiagnosticArray, "/diagnostics")
    graph.until(
        lambda: any(
            "set ros.transport to auto" in each
            for each in input_messages(diagnostics, "/other/analyzer")
        ),
        "the explanation",
    )
    graph.node.destroy_publisher(publisher)


def test_a_misspelt_parameter_is_said(graph, start_node):
    node = start_node(remaps=["__ns:=/misspelt"], **{"sweep.max_regoins": 3, "my_own": 1})
    graph.until(lambda: "waiting for images" in node.log, "the start")
    assert (
        "sweep.max_regoins: there is no such setting; did you mean sweep.max_regions?" in node.log
    )
    assert "my_own" not in node.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_models_load_is_no_crash(graph, start_node, backends, number):
    node = start_node(python_path=backends, **{"describer.backend": "test_backends:SlowStart"})
    graph.until(lambda: "loading" in node.log, "the start")
    node.process.send_signal(number)
    assert node.process.wait(timeout=40) == 0
    assert "Traceback" not in node.log


def test_a_frame_in_hand_does_not_hold_up_the_end(graph, start_node, backends):
    node = start_node(
        remaps=["__ns:=/slow"],
        python_path=backends,
        **{"describer.backend": "test_backends:VerySlow"},
    )
    updates = graph.listen(DescribedRegion, "/slow/analyzer/region_updates")
    camera = graph.publisher(Image, "/slow/image")
    sent = graph.image(picture())

    def first_region():
        camera.publish(sent)
        graph.spin(0.3)
        return updates

    graph.until(first_region, "the first region")
    started = time.monotonic()
    assert node.stop() == 0
    # launch asks again after 5 s and kills after 10 s.
    assert time.monotonic() - started < 5
    assert "Traceback" not in node.log


def test_a_fallback_is_said_in_every_scene(graph, start_node):
    start_node(remaps=["__ns:=/fallback"], **{"segmenter.backend": "sam3"})
    scenes = graph.listen(DescribedRegionArray, "/fallback/analyzer/regions", LATCHED)
    detections = graph.listen(Detection2DArray, "/fallback/analyzer/detections")
    camera = graph.publisher(Image, "/fallback/image")
    for _ in range(2):
        sent = graph.image(picture())
        graph.analysed(camera, detections, sent)
        scene = graph.answer(scenes, sent)
        assert scene.segmenter == "superpixels"
        assert "'sam3'" in scene.warnings[0]
