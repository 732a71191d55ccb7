"""Camera stamp to detections over DDS with 4 cameras at 640x480 in one node, against 1 camera.

All cameras send one image at the same time, so the last of four waits for the three others.
"""

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
from deep_perception.ros import messages
from synthetic.photographs import photograph

ROUNDS, PATIENCE_S = 8, 30.0


def run() -> Measurement:
    """Median seconds of the round trip of a camera."""
    rclpy.init()
    medians = {count: _median(count) for count in (1, 2, 4)}
    rclpy.shutdown()
    sys.stdout.write("".join(f"  {count} cameras: {s:.3f} s\n" for count, s in medians.items()))
    return {
        "name": "cameras_s",
        "value": medians[4],
        "unit": "s",
        "baseline": medians[1],
        "ours": medians[4],
        "runs": ROUNDS,
    }


def _median(count: int) -> float:
    names = [f"camera{number}" for number in range(count)]
    node = rclpy.create_node("bench")
    received: dict[str, list[Detection2DArray]] = {name: [] for name in names}
    subscriptions = [
        node.create_subscription(
            Detection2DArray, f"/analyzer/{name}/detections", received[name].append, 10
        )
        for name in names
    ]
    publishers = {name: node.create_publisher(Image, f"/{name}/image", 1) for name in names}
    process = subprocess.Popen(
        [
            sys.executable, "-m", "deep_perception.ros", "--ros-args",
            "-p", f"ros.cameras:={','.join(names)}",
            "-p", "keyframes.min_interval_s:=0.0", "-p", "keyframes.mode:=interval",
            # Each image is sent once, and four at once overflow the buffers of the loopback.
            "-p", "ros.reliability:=reliable",
        ]
    )  # fmt: skip
    try:
        while not all(p.get_subscription_count() for p in publishers.values()) or not all(
            subscription.get_publisher_count() for subscription in subscriptions
        ):
            rclpy.spin_once(node, timeout_sec=0.05)
        time.sleep(1.0)
        seconds: list[float] = []
        for turn in range(ROUNDS + 2):
            times = _round(node, publishers, received)
            if turn >= 2:
                seconds += times
    finally:
        process.terminate()
        process.wait(timeout=PATIENCE_S)
        node.destroy_node()
    return statistics.median(seconds)


def _round(
    node: Node, publishers: dict[str, Publisher], received: dict[str, list[Detection2DArray]]
) -> list[float]:
    sent: dict[str, Image] = {}
    started = time.monotonic()
    for number, (name, publisher) in enumerate(publishers.items()):
        sent[name] = messages.to_image(photograph(640, 480, number), Detection2DArray().header)
        sent[name].header.stamp = node.get_clock().now().to_msg()
        publisher.publish(sent[name])
    arrived: dict[str, float] = {}
    while len(arrived) < len(sent):
        if time.monotonic() - started > PATIENCE_S:
            raise TimeoutError(f"no detections of {set(sent) - set(arrived)}")
        rclpy.spin_once(node, timeout_sec=0.01)
        for name, message in sent.items():
            if name not in arrived and any(m.header == message.header for m in received[name]):
                arrived[name] = time.monotonic() - started
    return list(arrived.values())
