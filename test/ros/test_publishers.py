"""Annotated images are drawn only while they have a subscription."""

import numpy as np
import pytest
from std_msgs.msg import Header

from deep_perception import drawing
from deep_perception.analyzer import Analyzer
from deep_perception.reports.messages import Keyframe
from deep_perception.ros.publishers import Publishers
from deep_perception.settings import OutputSettings

pytestmark = pytest.mark.ros


def test_nothing_is_drawn_without_a_subscription(graph, monkeypatch):
    drawn = []
    monkeypatch.setattr(drawing, "annotate", lambda *args, **kwargs: drawn.append(args) or args[1])
    image = np.full((60, 80, 3), 99, np.uint8)
    scene = Analyzer().analyze(image)
    outputs = Publishers(graph.node, "")
    keyframe = Keyframe(Header(), 1, "first")
    outputs.publish_scene(scene, image, keyframe, OutputSettings())
    assert drawn == []
    from sensor_msgs.msg import Image

    received = graph.listen(Image, f"/{graph.node.get_name()}/annotated")
    outputs.publish_scene(scene, image, keyframe, OutputSettings())
    assert len(drawn) == 1
    graph.until(lambda: received, "the image")
