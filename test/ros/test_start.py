"""How the node starts, finds its input, and reports what is wrong."""

import numpy as np
import pytest
from rclpy.qos import QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from support.graph import LATCHED, UNWATCHED, Diagnostics

pytestmark = pytest.mark.ros

BEST_EFFORT = QoSProfile(depth=1, reliability=ReliabilityPolicy.BEST_EFFORT)
OFTEN = {"ros.diagnostics_period_s": 0.1}
SOON = {"ros.input_timeout_s": 1.0, **OFTEN}


def camera_image(width=320):
    image = np.full((240, width, 3), (190, 190, 190), np.uint8)
    image[40:150, 60:180] = (30, 30, 200)
    return image


@pytest.mark.parametrize(
    ("name", "value", "reason"),
    [
        ("points.grid_rows", 0, "points.grid_rows: 0 is not allowed; expected a whole number"),
        ("sweep.overlap", "clip", "sweep.overlap: 'clip' is not allowed; expected one of allow"),
        ("keyframes.min_interval_s", 3, "keyframes.min_interval_s: 3 is not allowed"),
        ("points.inside", "maybe", "points.inside: 'maybe' is not allowed; expected true"),
    ],
)
def test_a_bad_parameter_at_start_is_one_clear_line(start_node, name, value, reason):
    node = start_node(**{name: value})
    assert node.wait() == 1
    assert reason in node.log
    assert "Traceback" not in node.log


def test_images_without_a_stamp_are_analysed_more_than_once(graph, start_node):
    node = start_node(
        remaps=["__ns:=/bare"],
        **UNWATCHED,
        **{"keyframes.min_interval_s": 0.2, "keyframes.mode": "interval"},
    )
    scenes = graph.listen(DescribedRegionArray, "/bare/analyzer/regions", LATCHED)
    camera = graph.publisher(Image, "/bare/image")
    message = graph.image(camera_image())
    message.header.stamp.sec = message.header.stamp.nanosec = 0
    graph.publish_until(
        camera, lambda: message, lambda: len(scenes) >= 3, "three scenes", period_s=0.03
    )
    assert node.log.count("have no stamp") == 1


@pytest.mark.slow
def test_the_newest_frame_wins(graph, start_node, backends, tmp_path):
    start_node(
        remaps=["__ns:=/fast"],
        python_path=backends,
        **OFTEN,
        **UNWATCHED,
        **{"keyframes.min_interval_s": 0.0, "describer.backend": "test_backends:Gated"},
    )
    detections = graph.listen(Detection2DArray, "/fast/analyzer/detections", 100)
    diagnostics = Diagnostics(graph, "/fast/analyzer")
    camera = graph.publisher(Image, "/fast/image")
    graph.analysed(camera, detections, graph.image(camera_image()))
    (tmp_path / "gate").touch()
    graph.publish_until(
        camera,
        lambda: graph.image(camera_image()),
        lambda: (tmp_path / "in_hand").exists(),
        "a frame in hand",
    )
    before = len(detections)
    received = diagnostics.count("received")
    burst = []

    def next_of_burst():
        burst.append(graph.image(camera_image()))
        return burst[-1]

    graph.publish_until(
        camera, next_of_burst, lambda: diagnostics.count("received") >= received + 10, "a burst"
    )
    (tmp_path / "gate").unlink()
    graph.analysed(camera, detections, burst[-1])
    assert len(detections) - before <= 5
    graph.until(lambda: diagnostics.count("replaced_by_newer") >= 5, "the replaced frames")


BACKENDS = """
import time
from pathlib import Path
from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description
from deep_perception.segmenters.superpixels import Superpixels

HERE = Path(__file__).parent

class Gated(Attributes):
    def describe(self, image, regions):
        while (HERE / "gate").exists():
            (HERE / "in_hand").touch()
            time.sleep(0.02)
        yield from super().describe(image, regions)

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

    scene = graph.publish_until(
        camera,
        lambda: graph.image(camera_image()),
        lambda: scenes,
        "a scene after the failing frames",
    )[0]
    assert "a frame could not be analysed: RuntimeError: out of memory" in node.log
    assert "a frame could not be analysed: SystemExit: a library that thinks" in node.log
    errors = {region.error for region in scene.regions}
    assert errors == {"no model is loaded", "ConnectionError: endpoint down"}
    for region in scene.regions:
        assert region.status == DescribedRegion.STATUS_FAILED
        assert region.description == region.label == ""
        assert region.mask.counts
    assert node.is_running


def test_the_same_failure_of_every_keyframe_is_one_line(graph, start_node, backends):
    node = start_node(
        remaps=["__ns:=/numbered"],
        python_path=backends,
        **OFTEN,
        **UNWATCHED,
        **{"describer.backend": "test_backends:Numbered"},
    )
    detections = graph.listen(Detection2DArray, "/numbered/analyzer/detections")
    diagnostics = Diagnostics(graph, "/numbered/analyzer")
    camera = graph.publisher(Image, "/numbered/image")
    for _ in range(4):
        graph.analysed(camera, detections, graph.image(camera_image()))
        diagnostics.wait_for_new(2)
    assert node.log.count("timed out") == 1


def test_a_misspelt_parameter_is_reported(graph, start_node):
    node = start_node(remaps=["__ns:=/misspelt"], **{"sweep.max_regoins": 3, "my_own": 1})
    graph.until(lambda: "waiting for images" in node.log, "the start")
    assert (
        "sweep.max_regoins: there is no such setting; did you mean sweep.max_regions?" in node.log
    )
    assert "my_own" not in node.log


def test_a_second_node_of_the_same_name_is_reported_by_both(graph, start_node):
    nodes = [start_node(remaps=["__ns:=/twins"], **OFTEN)]
    diagnostics = Diagnostics(graph, "/twins/analyzer")
    graph.until(lambda: diagnostics.reports("active", "state"), "the first node")
    start_node(remaps=["__ns:=/others"])  # another namespace is another name
    nodes.append(start_node(remaps=["__ns:=/twins"], **OFTEN))
    said = "another node has the name /twins/analyzer"
    graph.until(lambda: all(said in node.log for node in nodes), "both warnings")
    graph.until(lambda: diagnostics.reports(said, "state"), "the status")
    assert diagnostics.last("state").level == b"\x01"
    nodes[1].stop()
    graph.until(lambda: diagnostics.reports("active", "state"), "the end of the second node")
    assert nodes[0].log.count(said) == 1


def test_every_scene_has_the_warning_of_a_fallback(graph, start_node):
    start_node(remaps=["__ns:=/fallback"], **{"segmenter.backend": "sam3"})
    scenes = graph.listen(DescribedRegionArray, "/fallback/analyzer/regions", LATCHED)
    detections = graph.listen(Detection2DArray, "/fallback/analyzer/detections")
    camera = graph.publisher(Image, "/fallback/image")
    for _ in range(2):
        sent = graph.image(camera_image())
        graph.analysed(camera, detections, sent)
        scene = graph.answer(scenes, sent)
        assert scene.segmenter == "superpixels"
        assert "'sam3'" in scene.warnings[0]
