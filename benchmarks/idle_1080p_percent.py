"""CPU time of the node for a still 1920x1080 rgb8 view at 30 Hz, against a bare rclpy subscriber.

Percent of one core, with config/fastdds_shm.xml on all sides. Nobody subscribes to the results. The
two sides take turns with the same camera.
"""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import Measurement
from benchmarks.receive_1080p_best_effort import PROFILE, VARIABLES

RATE_HZ, WARM_UP_S, SECONDS, RUNS = 30.0, 8.0, 8.0, 3
CAMERA = """
import sys, time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from synthetic.photographs import photograph
from deep_perception.ros import messages
rate = float(sys.argv[1])
rclpy.init(); node = rclpy.create_node('camera')
publisher = node.create_publisher(Image, '/image', qos_profile_sensor_data)
message = messages.to_image(photograph(1920, 1080), Image().header)
message.encoding = 'rgb8'
due = time.monotonic()
while True:
    due += 1 / rate
    time.sleep(max(0.0, due - time.monotonic()))
    message.header.stamp = node.get_clock().now().to_msg()
    publisher.publish(message)
"""
SUBSCRIBER = """
import rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
rclpy.init(); node = rclpy.create_node('subscriber')
node.create_subscription(Image, '/image', lambda message: None, qos_profile_sensor_data)
rclpy.spin(node)
"""


def run() -> Measurement:
    """Percent of one core."""
    environment = {**os.environ, **dict.fromkeys(VARIABLES, str(PROFILE))}
    camera = subprocess.Popen([sys.executable, "-c", CAMERA, str(RATE_HZ)], env=environment)
    sides = (["-m", "deep_perception.ros"], ["-c", SUBSCRIBER])
    used: tuple[list[float], list[float]] = ([], [])
    try:
        for _ in range(RUNS):
            for side, arguments in zip(used, sides, strict=True):
                side.append(_percent([sys.executable, *arguments], environment))
    finally:
        camera.kill()
        camera.wait()
    ours, baseline = statistics.median(used[0]), statistics.median(used[1])
    return {
        "name": "idle_1080p_percent",
        "value": ours,
        "unit": "% of a core",
        "baseline": baseline,
        "ours": ours,
        "runs": RUNS,
    }


def _percent(command: list[str], environment: dict[str, str]) -> float:
    process = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
    try:
        time.sleep(WARM_UP_S)
        before_s, started_s = _cpu_s(process.pid), time.monotonic()
        time.sleep(SECONDS)
        return 100 * (_cpu_s(process.pid) - before_s) / (time.monotonic() - started_s)
    finally:
        process.kill()
        process.wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
