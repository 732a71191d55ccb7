"""Fraction of 1080p rgb8 frames received at 30 Hz, best effort, with config/fastdds_shm.xml.

The baseline is the middleware with its default configuration.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from pathlib import Path

from benchmarks.harness import Measurement

FRAMES, RATE_HZ = 120, 30.0
PROFILE = Path(__file__).parents[1] / "config" / "fastdds_shm.xml"
VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
# Sender and receiver are processes, because the profile is read only when the first node starts.
SENDER = """
import sys, time, rclpy
from rclpy.qos import qos_profile_sensor_data
from sensor_msgs.msg import Image
from synthetic.photographs import photograph
from deep_perception.ros import messages
frames, rate = int(sys.argv[1]), float(sys.argv[2])
rclpy.init(); node = rclpy.create_node('sender')
publisher = node.create_publisher(Image, '/image', qos_profile_sensor_data)
message = messages.to_image(photograph(1920, 1080), Image().header)
while not publisher.get_subscription_count():
    rclpy.spin_once(node, timeout_sec=0.05)
time.sleep(1.0)
started = time.monotonic()
for number in range(frames):
    time.sleep(max(0.0, started + number / rate - time.monotonic()))
    message.header.stamp.sec = number + 1
    publisher.publish(message)
time.sleep(1.0)
"""
RECEIVER = """
import json, sys, rclpy
from rclpy.executors import ExternalShutdownException
from deep_perception.ros.image_input import ImageInput
from deep_perception.ros.latest import Latest
from deep_perception.settings import RosSettings
rclpy.init(); node = rclpy.create_node('receiver')
camera = ImageInput(node=node, name="", settings=RosSettings(), frames=Latest())
try:
    rclpy.spin(node)
except (KeyboardInterrupt, ExternalShutdownException):
    pass
print(json.dumps(camera.received))
"""


def run() -> Measurement:
    """The fraction of the frames that reach the subscription callback."""
    ours, baseline = _received(str(PROFILE)), _received("")
    return {
        "name": "receive_1080p_best_effort",
        "value": ours,
        "unit": "of the frames",
        "baseline": baseline,
        "ours": ours,
        "runs": FRAMES,
    }


def _received(profile: str) -> float:
    environment = {key: value for key, value in os.environ.items() if key not in VARIABLES}
    if profile:
        environment |= dict.fromkeys(VARIABLES, profile)
    receiver = subprocess.Popen(
        [sys.executable, "-c", RECEIVER], env=environment, stdout=subprocess.PIPE, text=True
    )
    command = [sys.executable, "-c", SENDER, str(FRAMES), str(RATE_HZ)]
    subprocess.run(command, env=environment, check=True, timeout=120)
    time.sleep(0.5)
    receiver.terminate()
    output, _ = receiver.communicate(timeout=30)
    return float(json.loads(output)) / FRAMES
