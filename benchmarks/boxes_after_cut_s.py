"""Cut of a 640x480 camera to the boxes of the new view, with a chat server of 3 s an answer.

The server has 4 slots. The baseline is the time until half of the new view's regions are described,
in the same run: what a consumer would wait for if boxes and descriptions came together is longer.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import time
from collections.abc import Callable

import rclpy
from rclpy.node import Node
from rclpy.publisher import Publisher
from sensor_msgs.msg import Image

from benchmarks.harness import Measurement
from benchmarks.words import chat_server
from deep_perception.images import BgrImage
from deep_perception.ros import messages
from deep_perception_msgs.msg import DescribedRegionArray
from synthetic.photographs import photograph

ANSWER_S, SLOTS, CUTS, PERIOD_S = 3.0, 4, 3, 0.1


def run() -> Measurement:
    """Median seconds from the first frame of a view to its boxes in ``~/regions``."""
    rclpy.init()
    node = rclpy.create_node("bench")
    scenes: list[DescribedRegionArray] = []
    node.create_subscription(DescribedRegionArray, "/analyzer/regions", scenes.append, 10)
    camera = node.create_publisher(Image, "/image", 1)
    with chat_server(SLOTS, ANSWER_S) as url:
        process = subprocess.Popen(
            [
                sys.executable, "-m", "deep_perception.ros", "--ros-args",
                "-p", "describer.backend:=chat", "-p", f"describer.url:={url}",
                "-p", "describer.cache_size:=0",
            ]
        )  # fmt: skip
        try:
            _show(node, camera, photograph(640, 480, 0), lambda _: bool(scenes))
            boxes, words = [], []
            for cut in range(1, CUTS + 1):
                image = photograph(640, 480, cut % 2)
                boxes.append(_show(node, camera, image, lambda cut_ns: bool(_of(scenes, cut_ns))))
                words.append(boxes[-1] + _show(node, camera, image, lambda _: _half(scenes)))
        finally:
            process.terminate()
            process.wait(timeout=30)
    node.destroy_node()
    rclpy.shutdown()
    return {
        "name": "boxes_after_cut_s",
        "value": statistics.median(boxes),
        "unit": "s",
        "baseline": statistics.median(words),
        "ours": statistics.median(boxes),
        "runs": CUTS,
    }


def _show(node: Node, camera: Publisher, image: BgrImage, is_over: Callable[[int], bool]) -> float:
    """Publish the image ten times a second until it is over; returns the seconds until then."""
    started_s, due_s = time.monotonic(), 0.0
    started_ns = node.get_clock().now().nanoseconds
    while not is_over(started_ns):
        if time.monotonic() >= due_s:
            message = messages.to_image(image, DescribedRegionArray().header)
            message.header.stamp = node.get_clock().now().to_msg()
            camera.publish(message)
            due_s = time.monotonic() + PERIOD_S
        rclpy.spin_once(node, timeout_sec=0.01)
    return time.monotonic() - started_s


def _of(scenes: list[DescribedRegionArray], since_ns: int) -> list[DescribedRegionArray]:
    return [scene for scene in scenes if messages.stamp_ns(scene.header.stamp) >= since_ns]


def _half(scenes: list[DescribedRegionArray]) -> bool:
    regions = scenes[-1].regions
    return 2 * sum(region.status != "pending" for region in regions) >= len(regions)
