"""Signals while models load and while a frame is analysed: the node ends cleanly and soon."""

import signal
import time

import pytest
from sensor_msgs.msg import Image

from deep_perception_msgs.msg import DescribedRegion
from support.actors import camera_image
from support.graph import UNWATCHED

pytestmark = pytest.mark.ros

BACKENDS = """
import time
import rclpy
from deep_perception.describers.attributes import Attributes
from deep_perception.segmenters.superpixels import Superpixels

class Embeds(Superpixels):
    def embed(self, image):
        print("in hand", flush=True)
        time.sleep(120)

class Masks(Superpixels):
    def masks(self, embedding, points):
        print("in hand", flush=True)
        time.sleep(0.3)
        return super().masks(embedding, points)

class Blocks(Attributes):
    def describe(self, image, regions):
        print("in hand", flush=True)
        time.sleep(120)
        yield from super().describe(image, regions)

class VerySlow(Attributes):
    def describe(self, image, regions):
        for number, found in enumerate(super().describe(image, regions)):
            time.sleep(2.0)
            yield found

class AnswersAfterTheEnd(Attributes):
    def describe(self, image, regions):
        for found in super().describe(image, regions):
            print("in hand", flush=True)
            while rclpy.ok():
                time.sleep(0.001)
            yield found

class SlowStart(Attributes):
    def __init__(self):
        print("loading", flush=True)
        while rclpy.ok():
            time.sleep(0.02)
        time.sleep(0.5)
"""


@pytest.fixture
def backends(tmp_path):
    (tmp_path / "slow_backends.py").write_text(BACKENDS)
    return str(tmp_path)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("backend", ["Embeds", "Masks", "Blocks", "AnswersAfterTheEnd"])
def test_a_signal_in_the_middle_of_a_frame(graph, start_node, backends, backend, number):
    kind = "describer" if backend in ("Blocks", "AnswersAfterTheEnd") else "segmenter"
    node = start_node(
        remaps=["__ns:=/ended"],
        python_path=backends,
        **UNWATCHED,
        **{f"{kind}.backend": f"slow_backends:{backend}"},
    )
    camera = graph.publisher(Image, "/ended/image")
    graph.publish_until(
        camera,
        lambda: graph.image(camera_image(1)),
        lambda: "in hand" in node.log,
        "a frame in hand",
    )
    started_s = time.monotonic()
    node.send_signal(number)
    assert node.wait() == 0
    assert time.monotonic() - started_s < 6, "3 s, and as much for a loaded machine"
    assert "Traceback" not in node.log
    assert "ERROR" not in node.log


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_while_models_load_is_no_crash(graph, start_node, backends, number):
    node = start_node(python_path=backends, **{"describer.backend": "slow_backends:SlowStart"})
    graph.until(lambda: "loading" in node.log, "the start")
    node.send_signal(number)
    assert node.wait() == 0
    assert "Traceback" not in node.log


@pytest.mark.slow
def test_a_frame_in_hand_does_not_hold_up_the_end(graph, start_node, backends):
    node = start_node(
        remaps=["__ns:=/slow"],
        python_path=backends,
        **{"describer.backend": "slow_backends:VerySlow"},
    )
    updates = graph.listen(DescribedRegion, "/slow/analyzer/region_updates")
    camera = graph.publisher(Image, "/slow/image")
    sent = graph.image(camera_image(1))
    graph.publish_until(camera, lambda: sent, lambda: updates, "the first region")
    started_s = time.monotonic()
    assert node.stop() == 0
    # launch asks again after 5 s and kills after 10 s.
    assert time.monotonic() - started_s < 5
    assert "Traceback" not in node.log
