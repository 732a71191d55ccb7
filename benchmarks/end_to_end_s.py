"""Camera stamp to detections over DDS at 640x480, against the analysis alone in one process."""

from __future__ import annotations

import statistics
import subprocess
import sys
import time

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from benchmarks.harness import Measurement
from deep_perception.analyzer import Analyzer
from deep_perception.images import BgrImage
from deep_perception.ros import messages
from synthetic.photographs import photograph

FRAMES, PATIENCE_S = 12, 20.0


def run() -> Measurement:
    """Median seconds, with the node in its own process."""
    rclpy.init()
    node = rclpy.create_node("bench")
    detections: list[Detection2DArray] = []
    subscription = node.create_subscription(
        Detection2DArray, "/analyzer/detections", detections.append, 10
    )
    image = photograph(640, 480)
    publisher = node.create_publisher(Image, "/image", 1)
    every_frame = ("-p", "keyframes.min_interval_s:=0.0", "-p", "keyframes.mode:=interval")
    arguments = ["--ros-args", *every_frame]
    process = subprocess.Popen([sys.executable, "-m", "deep_perception.ros", *arguments])
    try:
        while not (publisher.get_subscription_count() and subscription.get_publisher_count()):
            rclpy.spin_once(node, timeout_sec=0.05)
        # A best-effort reader drops messages until it has matched the writer on its side.
        time.sleep(1.0)
        latencies = [_round_trip(node, publisher, detections, image) for _ in range(FRAMES)]
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)
        node.destroy_node()
        rclpy.shutdown()
    analyzer = Analyzer()
    alone = [analyzer.analyze(image).timings.total_s for _ in range(FRAMES)]
    # The first two frames include discovery and warm-up.
    ours, baseline = statistics.median(latencies[2:]), statistics.median(alone[2:])
    return {
        "name": "end_to_end_s",
        "value": ours,
        "unit": "s",
        "baseline": baseline,
        "ours": ours,
        "runs": FRAMES - 2,
    }


def _round_trip(
    node: Node, publisher: Publisher, detections: list[Detection2DArray], image: BgrImage
) -> float:
    message = messages.to_image(image, Detection2DArray().header)
    message.header.stamp = node.get_clock().now().to_msg()
    started = time.monotonic()
    publisher.publish(message)
    while not any(received.header == message.header for received in detections):
        if time.monotonic() - started > PATIENCE_S:
            raise TimeoutError("no detections were received")
        rclpy.spin_once(node, timeout_sec=0.01)
    return time.monotonic() - started
