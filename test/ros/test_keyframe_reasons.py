"""Which frames become keyframes, over DDS: changes of the scene do, changes of the light do not."""

import math
from pathlib import Path

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import Image
from std_srvs.srv import Trigger

from deep_perception import images
from deep_perception_msgs.msg import DescribedRegionArray
from support.graph import LATCHED, UNWATCHED, Diagnostics

pytestmark = pytest.mark.ros

DATA = Path(__file__).parents[1] / "data"


def view(name):
    return cv2.resize(images.load(DATA / f"{name}.jpg"), (320, 240), interpolation=cv2.INTER_AREA)


class Flickering:
    """Publishes views, 10 a second by their stamps, under a light that flickers by a third."""

    def __init__(self, graph, topic):
        self._graph = graph
        self._camera = graph.publisher(Image, topic)
        self._sent = 0

    def show_until(self, image, condition, what):
        self._graph.publish_until(
            self._camera, lambda: self._lit(image), condition, what, period_s=0.05
        )

    def _lit(self, image):
        self._sent += 1
        light = 1.0 + 0.3 * math.sin(self._sent / 3)
        lit = np.clip(image * light, 0, 255).astype(np.uint8)
        message = self._graph.image(lit)
        message.header.stamp.sec = 1000 + self._sent // 10
        message.header.stamp.nanosec = self._sent % 10 * 100_000_000
        return message


def test_a_static_view_is_one_scene_and_a_cut_another(graph, start_node):
    start_node(
        remaps=["__ns:=/still"],
        **UNWATCHED,
        **{"keyframes.max_interval_s": 0.0, "ros.diagnostics_period_s": 0.1},
    )
    scenes = graph.listen(DescribedRegionArray, "/still/analyzer/regions", LATCHED)
    diagnostics = Diagnostics(graph, "/still/analyzer")
    camera = Flickering(graph, "/still/image")
    graph.prepare(Trigger, "/still/analyzer/request_keyframe")

    coffee, rocket = view("coffee"), view("rocket")
    camera.show_until(coffee, lambda: scenes, "the first scene")
    enough = diagnostics.count("between_keyframes") + 40
    camera.show_until(
        coffee, lambda: diagnostics.count("between_keyframes") >= enough, "40 frames left alone"
    )
    assert [(scene.keyframe, scene.reason) for scene in scenes] == [(1, "first")]

    camera.show_until(rocket, lambda: len(scenes) > 1, "the scene of the cut")
    assert (scenes[1].keyframe, scenes[1].reason) == (2, "scene")

    visited = rocket.copy()
    cv2.ellipse(visited, (250, 150), (25, 70), 0, 0, 360, (40, 40, 160), -1)
    camera.show_until(visited, lambda: len(scenes) > 2, "the scene of the visitor")
    assert (scenes[2].keyframe, scenes[2].reason) == (3, "local")

    request = "/still/analyzer/request_keyframe"
    assert graph.call(Trigger, request, Trigger.Request(), again=False).success
    camera.show_until(visited, lambda: len(scenes) > 3, "the requested scene")
    assert (scenes[3].keyframe, scenes[3].reason) == (4, "requested")
    # What was there is the same as before, whatever the light does.
    ids = {region.track_id for region in scenes[2].regions}
    assert "" not in ids
    same = [region for region in scenes[3].regions if region.track_id in ids]
    assert len(same) > 0.6 * len(scenes[3].regions)
    assert all(region.first_seen != scenes[3].header.stamp for region in same)
