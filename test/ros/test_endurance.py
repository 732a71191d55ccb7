"""Keyframes, one a second by the stamps, that are played faster: the memory does not grow."""

import cv2
import numpy as np
import pytest
from sensor_msgs.msg import CompressedImage, Image

from deep_perception_msgs.msg import DescribedRegionArray
from support.graph import LASTING, LATCHED

pytestmark = pytest.mark.ros

BACKGROUND = np.random.default_rng(5).integers(90, 150, (12, 16, 3), np.uint8)


def scene_at(number, width=160, height=120):
    """Draw discs that cross a wall at different speeds, come, go and change their colour."""
    image = cv2.resize(BACKGROUND, (width, height), interpolation=cv2.INTER_LINEAR)
    for thing in range(5):
        x = (number * (thing + 1) * 2 + thing * 37) % (width + 60) - 30
        y = int(height / 2 + (height / 3) * np.sin(number / 40 + thing))
        colour = [int(c) for c in np.random.default_rng(number // 90 + thing).integers(0, 255, 3)]
        cv2.circle(image, (x, y), 8 + 3 * thing, colour, -1)
    return image


@pytest.mark.parametrize(
    ("warm", "keyframes", "growth"),
    [
        pytest.param(80, 160, 0.02, id="short"),
        # Half an hour of one keyframe a second.
        pytest.param(600, 1800, 0.02, id="long", marks=pytest.mark.slow),
    ],
)
def test_many_keyframes_leave_the_memory_as_it_is(
    graph, start_node, record_property, warm, keyframes, growth
):
    node = start_node(
        remaps=["__ns:=/long"],
        **LASTING,
        **{"keyframes.mode": "interval", "keyframes.min_interval_s": 0.0},
        **{"ros.input_timeout_s": 600.0, "points.grid_columns": 6, "points.grid_rows": 4},
    )
    scenes = graph.listen(DescribedRegionArray, "/long/analyzer/regions", LATCHED)
    pictures = graph.listen(CompressedImage, "/long/analyzer/annotated/compressed")
    camera = graph.publisher(Image, "/long/image")
    memory, seconds, tracks, regions, drawn = [], 5000, set(), 0, 0
    while len(memory) < keyframes:
        seconds += 1
        message = graph.image(scene_at(seconds))
        message.header.stamp.sec = seconds
        camera.publish(message)
        try:
            scene = graph.answer(scenes, message, patience=5.0)
        except AssertionError:  # best effort may lose one
            continue
        memory.append((node.memory_kb(), node.memory_kb("RssAnon")))
        tracks |= {each.track_id for each in scene.regions}
        regions += len(scene.regions)
        drawn += len(pictures)
        scenes.clear()
        pictures.clear()
    # Medians, because work in progress adds to the memory of single moments.
    before, after = (np.median(memory[at - 60 : at], axis=0) for at in (warm, keyframes))
    record_property("kB RSS and RssAnon, warm", before.tolist())
    record_property("kB RSS and RssAnon, at the end", after.tolist())
    assert regions > 5 * keyframes and len(tracks) > 100 and drawn > keyframes / 2
    assert (after / before - 1).max() < growth, memory[::20]
    assert "ERROR" not in node.log and "WARN" not in node.log
