"""Annotated images are drawn only while they have a subscription; states tell what is new."""

import numpy as np
import pytest
from std_msgs.msg import Header

from deep_perception import drawing
from deep_perception.analyzer import Analyzer
from deep_perception.reports.messages import Keyframe
from deep_perception.ros.publishers import Publishers
from deep_perception.settings import OutputSettings
from deep_perception_msgs.msg import SceneState
from support.graph import LATCHED

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


@pytest.mark.parametrize(
    ("reason", "is_published"),
    [
        ("no image has been analysed yet; /image has no publisher for 2 s", False),
        ("no image has been analysed yet; /image: encoding 'h264' is not supported", True),
    ],
)
def test_a_state_is_published_again_when_its_reason_is_another_one(graph, reason, is_published):
    outputs = Publishers(graph.node, "")
    states = graph.listen(SceneState, f"/{graph.node.get_name()}/scene_state", LATCHED)
    before = "no image has been analysed yet; /image has no publisher for 1 s"
    last = SceneState(keyframe=1)
    for state in (SceneState(reason=before), SceneState(reason=reason)):
        outputs.publish_state(state)
        graph.until(lambda: states, "the first state")
    outputs.publish_state(last)
    graph.until(lambda: states[-1] == last, "the last state")
    assert len(states) == (3 if is_published else 2)
    outputs.close()
