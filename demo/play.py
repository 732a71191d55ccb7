"""Play a bag's image topic with its own timing: ``python -m demo.play BAG SUBSCRIPTIONS``.

Playing starts once the topic has that many subscriptions.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import rclpy
from rclpy.qos import QoSProfile
from rosbags.rosbag2 import Reader
from sensor_msgs.msg import Image

from demo.recording import TOPIC

WAIT_FOR_SUBSCRIPTIONS_S = 120.0


def main() -> int:
    """Play the bag; returns 1 if there are too few subscriptions for too long."""
    bag, subscriptions = Path(sys.argv[1]), int(sys.argv[2])
    rclpy.init()
    node = rclpy.create_node("player")
    publisher = node.create_publisher(Image, TOPIC, QoSProfile(depth=5))
    deadline = time.monotonic() + WAIT_FOR_SUBSCRIPTIONS_S
    while publisher.get_subscription_count() < subscriptions:
        if time.monotonic() > deadline:
            node.get_logger().fatal(f"{TOPIC} has fewer than {subscriptions} subscriptions")
            return 1
        rclpy.spin_once(node, timeout_sec=0.05)
    with Reader(bag) as reader:
        started = time.monotonic()
        for _, stamp, data in reader.messages():
            ahead = (stamp - reader.start_time) / 1e9 - (time.monotonic() - started)
            time.sleep(max(0.0, ahead))
            publisher.publish(bytes(data))
    publisher.wait_for_all_acked(rclpy.duration.Duration(seconds=5))
    node.destroy_node()
    rclpy.shutdown()
    return 0


if __name__ == "__main__":
    sys.exit(main())
