"""Processes that a test can kill: a camera, and a node whose subscriptions never read.

python actors.py camera TOPIC RATE_HZ [raw|jpeg]
python actors.py deaf NODE
"""

import os
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import rclpy
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from sensor_msgs.msg import CompressedImage, Image

LEASE = str(Path(__file__).with_name("short_lease.xml"))


def camera_image(number, width=160, height=120):
    """A grey wall and a square, which moves with the number."""
    image = np.full((height, width, 3), (190, 190, 190), np.uint8)
    x, y = 10 + number * 3 % (width - 60), 10 + number * 2 % (height - 60)
    image[y : y + 40, x : x + 40] = (30, 30, 200)
    return image


def camera(topic, rate_hz, transport="raw"):
    """Frames with the wall time as their stamp and their number in frame_id."""
    # Jazzy reads the first, Kilted and later the second.
    os.environ["FASTRTPS_DEFAULT_PROFILES_FILE"] = LEASE
    os.environ["FASTDDS_DEFAULT_PROFILES_FILE"] = LEASE
    rclpy.init()
    node = rclpy.create_node("camera")
    kind = Image if transport == "raw" else CompressedImage
    publisher = node.create_publisher(kind, topic, 1)
    number, started = 0, time.monotonic()
    while True:
        number += 1
        image = camera_image(number)
        if transport == "raw":
            message = Image(height=120, width=160, encoding="bgr8", step=480)
            message.data.frombytes(image.tobytes())
        else:
            message = CompressedImage(format="jpeg")
            message.data.frombytes(cv2.imencode(".jpg", image)[1].tobytes())
        message.header.stamp = node.get_clock().now().to_msg()
        message.header.frame_id = str(number)
        publisher.publish(message)
        time.sleep(max(0.0, started + number / float(rate_hz) - time.monotonic()))


def deaf(name):
    """Subscribe to all topics of a node, ask for every message by the QoS, and take none."""
    from vision_msgs.msg import Detection2DArray

    from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray

    rclpy.init()
    node = rclpy.create_node("deaf")
    qos = QoSProfile(history=HistoryPolicy.KEEP_ALL, reliability=ReliabilityPolicy.RELIABLE)
    latched = QoSProfile(
        history=HistoryPolicy.KEEP_ALL,
        reliability=ReliabilityPolicy.RELIABLE,
        durability=DurabilityPolicy.TRANSIENT_LOCAL,
    )
    for topic, kind, profile in (
        ("detections", Detection2DArray, qos),
        ("regions", DescribedRegionArray, latched),
        ("region_updates", DescribedRegion, qos),
        ("annotated", Image, qos),
        ("annotated/compressed", CompressedImage, qos),
    ):
        node.create_subscription(kind, f"{name}/{topic}", print, profile)
    time.sleep(3600)


if __name__ == "__main__":
    {"camera": camera, "deaf": deaf}[sys.argv[1]](*sys.argv[2:])
