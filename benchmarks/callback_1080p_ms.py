"""Time of a 1920x1080 rgb8 frame in the executor's thread, against converting it there.

What rclpy does before the callback is no part of it: it hands over the bytes that arrived.
"""

from __future__ import annotations

import rclpy
from rclpy.serialization import deserialize_message, serialize_message
from sensor_msgs.msg import Image

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception import encodings
from deep_perception.ros import messages
from deep_perception.ros.image_input import ImageInput
from deep_perception.ros.latest import Latest
from deep_perception.ros.memory import keep_freed_memory
from deep_perception.settings import RosSettings
from synthetic.photographs import photograph

FRAMES = 50


def run() -> Measurement:
    """Milliseconds per frame."""
    keep_freed_memory()
    rclpy.init()
    node = rclpy.create_node("bench")
    camera = ImageInput(node=node, name="", settings=RosSettings(), frames=Latest())
    message = messages.to_image(photograph(1920, 1080), Image().header)
    message.encoding = "rgb8"
    data = serialize_message(message)

    def ours() -> None:
        for _ in range(FRAMES):
            camera._on_image(data, {})  # noqa: SLF001

    def baseline() -> None:
        for _ in range(FRAMES):
            encodings.message_to_bgr(deserialize_message(data, Image))

    seconds, naive = turn_by_turn(ours, baseline)
    node.destroy_node()
    rclpy.shutdown()
    return {
        "name": "callback_1080p_ms",
        "value": 1000 * seconds / FRAMES,
        "unit": "ms",
        "baseline": 1000 * naive / FRAMES,
        "ours": 1000 * seconds / FRAMES,
        "runs": 7,
    }
