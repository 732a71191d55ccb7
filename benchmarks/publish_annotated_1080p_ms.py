"""Publishing a 1920x1080 annotated image, against passing the bytes of the image to rclpy."""

from __future__ import annotations

import rclpy
from sensor_msgs.msg import Image

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception.ros import messages
from synthetic.photographs import photograph

FRAMES = 10


def run() -> Measurement:
    """Milliseconds per image to convert and publish, with a subscription in the same process."""
    rclpy.init()
    node = rclpy.create_node("bench")
    publisher = node.create_publisher(Image, "annotated", 1)
    node.create_subscription(Image, "annotated", lambda _: None, 1)
    image = photograph(1920, 1080)
    header = Image().header

    def ours() -> None:
        for _ in range(FRAMES):
            publisher.publish(messages.to_image(image, header))

    def baseline() -> None:
        for _ in range(FRAMES):
            message = Image(header=header, height=1080, width=1920, encoding="bgr8", step=5760)
            message.data = image.tobytes()
            publisher.publish(message)

    seconds, naive = turn_by_turn(ours, baseline)
    node.destroy_node()
    rclpy.shutdown()
    return {
        "name": "publish_annotated_1080p_ms",
        "value": 1000 * seconds / FRAMES,
        "unit": "ms",
        "baseline": 1000 * naive / FRAMES,
        "ours": 1000 * seconds / FRAMES,
        "runs": 7,
    }
