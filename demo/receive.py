"""A receiver: check what the node publishes, and write it as a bag, images and reports.

``python -m demo.receive FOLDER`` runs until SIGINT and then until the node is idle and all its
messages have arrived. It prints its findings as JSON.
"""

from __future__ import annotations

import json
import signal
import sys
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import get_package_share_path
from diagnostic_msgs.msg import DiagnosticArray
from rcl_interfaces.srv import GetParameters
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rclpy.signals import SignalHandlerOptions
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from deep_perception import encodings, images, masks
from deep_perception.reports import write_reports
from deep_perception.ros import messages
from deep_perception.stamps import NANOSECONDS
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from demo.recording import START_NS, TOPIC

NODE = "/analyzer"
# A node that has not become idle this long after SIGINT is reported.
IDLE_WITHIN_S = 60.0


@dataclass
class Findings:
    """The number of messages, and what was wrong with them."""

    frames: int = 0
    detections: int = 0
    scenes: int = 0
    annotated: int = 0
    updates: int = 0
    regions: int = 0
    described: int = 0
    latencies_s: list[float] = field(default_factory=list)
    coverages: list[float] = field(default_factory=list)
    # Of each annotated image, in seconds from the start of the recording.
    times_s: list[float] = field(default_factory=list)
    largest: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Receiver(Node):
    """Subscribe to the camera and to all topics of the node."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        super().__init__("receiver")
        self.findings = Findings()
        self._folder = folder
        self._writer = writer
        self._store = _typestore()
        self._sent: dict[tuple[int, int, str], tuple[float, int, int]] = {}
        self._counts: dict[str, str] = {}
        self._diagnostics = 0
        self._listen(f"{NODE}/detections", Detection2DArray, self._on_detections)
        self._listen(f"{NODE}/regions", DescribedRegionArray, self._on_regions)
        self._listen(f"{NODE}/region_updates", DescribedRegion, self._on_update)
        self._listen(f"{NODE}/annotated", Image, self._on_annotated, keep=False)
        self._listen("/diagnostics", DiagnosticArray, self._on_diagnostics, keep=False)
        # The player starts when the camera's topic has two subscriptions, so this one is the last.
        self._wait_for_node()
        self._listen(TOPIC, Image, self._on_frame, keep=False)

    def _wait_for_node(self) -> None:
        """Wait until the node knows the subscriptions above, so that no message is lost.

        The middleware announces them before the client, so an answer proves it.
        """
        client = self.create_client(GetParameters, f"{NODE}/get_parameters")
        client.wait_for_service()
        future = client.call_async(GetParameters.Request())
        while not future.done():  # the node may not have discovered the client yet
            future = client.call_async(GetParameters.Request())
            rclpy.spin_until_future_complete(self, future, timeout_sec=1.0)

    def wait_for_idle_node(self) -> None:
        """Spin until the node has analysed its frames and all its messages have arrived."""
        first, ends_s = self._diagnostics + 2, time.monotonic() + IDLE_WITHIN_S
        while self._diagnostics < first or not self._is_complete():
            if time.monotonic() > ends_s:
                self.findings.problems.append(f"after {IDLE_WITHIN_S:g} s: {self._counts}")
                return
            rclpy.spin_once(self, timeout_sec=0.1)

    def _is_complete(self) -> bool:
        counts, findings = self._counts, self.findings
        keys = ("keyframes", "between_keyframes", "replaced_by_newer", "failed", "outdated")
        keyframes = int(counts["keyframes"])
        return (
            int(counts["received"]) == sum(int(counts[key]) for key in keys)
            and (findings.detections, findings.scenes, findings.annotated) == (keyframes,) * 3
            and findings.updates == findings.regions
        )

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        self._diagnostics += 1
        for status in message.status:
            self._counts |= {pair.key: pair.value for pair in status.values}

    def _listen(
        self, topic: str, kind: Any, handle: Callable[[Any], None], *, keep: bool = True
    ) -> None:
        connection = None
        if keep:
            name = f"{kind.__module__.split('.')[0]}/msg/{kind.__name__}"
            connection = self._writer.add_connection(topic, name, typestore=self._store)

        def on_bytes(data: bytes) -> None:
            if connection is not None:
                self._writer.write(connection, time.time_ns(), data)
            handle(deserialize_message(data, kind))

        self.create_subscription(kind, topic, on_bytes, 500, raw=True)

    def _on_frame(self, message: Image) -> None:
        self.findings.frames += 1
        self._sent[_key(message.header)] = (time.monotonic(), message.width, message.height)

    def _on_detections(self, message: Detection2DArray) -> None:
        self.findings.detections += 1
        source = self._source(message.header, "detections")
        if source is None:
            return
        sent, width, height = source
        self.findings.latencies_s.append(time.monotonic() - sent)
        for detection in message.detections:
            centre, box = detection.bbox.center.position, detection.bbox
            inside_x = box.size_x / 2 <= centre.x <= width - box.size_x / 2
            inside_y = box.size_y / 2 <= centre.y <= height - box.size_y / 2
            if not (inside_x and inside_y):
                self.findings.problems.append(f"a bounding box exceeds the frame: {box}")

    def _on_regions(self, message: DescribedRegionArray) -> None:
        findings = self.findings
        findings.scenes += 1
        source = self._source(message.header, "regions")
        if source is not None and source[1:] != (message.width, message.height):
            findings.problems.append("a scene has another size than its camera frame")
        try:
            scene = messages.from_regions(message)
        except ValueError as error:
            findings.problems.append(f"a mask does not decode: {error}")
            return
        findings.problems += [
            f"{region.name}: the mask does not match the frame, its bounding box or its area"
            for region in scene.regions
            if masks.size_of(region.mask) != scene.size
            or masks.box_of(region.mask) != region.box
            or region.mask.sum() != region.area
        ]
        findings.regions += len(scene.regions)
        findings.described += sum(r.description.status == "described" for r in scene.regions)
        findings.coverages.append(scene.coverage)
        if scene.regions:
            largest = max(scene.regions, key=lambda region: region.area)
            findings.largest.append(f"{largest.name} {largest.description.label}")
        name = f"keyframe_{message.keyframe:02d}"
        write_reports(self._folder / "texts", name, scene, title=name)

    def _on_update(self, message: DescribedRegion) -> None:
        self.findings.updates += 1
        self._source(message.header, "region_updates")

    def _on_annotated(self, message: Image) -> None:
        self.findings.annotated += 1
        self._source(message.header, "annotated")
        stamp_ns = messages.stamp_ns(message.header.stamp)
        self.findings.times_s.append((stamp_ns - START_NS) / NANOSECONDS)
        path = self._folder / "images" / f"keyframe_{self.findings.annotated:02d}_annotated.png"
        images.save_png(path, encodings.message_to_bgr(message))

    def _source(self, header: Any, topic: str) -> tuple[float, int, int] | None:
        source = self._sent.get(_key(header))
        if source is None:
            self.findings.problems.append(f"{topic}: no camera frame has the header {_key(header)}")
        return source


def _key(header: Any) -> tuple[int, int, str]:
    return header.stamp.sec, header.stamp.nanosec, header.frame_id


def _typestore() -> Any:
    store = get_typestore(Stores.ROS2_JAZZY)
    for package in ("vision_msgs", "deep_perception_msgs"):
        for path in sorted((get_package_share_path(package) / "msg").glob("*.msg")):
            name = f"{package}/msg/{path.stem}"
            store.register(get_types_from_msg(path.read_text(encoding="utf-8"), name))
    return store


def main() -> int:
    """Receive until interrupted."""
    folder = Path(sys.argv[1])
    stop = threading.Event()
    signal.signal(signal.SIGINT, lambda number, frame: stop.set())
    rclpy.init(signal_handler_options=SignalHandlerOptions.NO)
    with Writer(folder / "messages", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        receiver = Receiver(folder, writer)
        while not stop.is_set():
            rclpy.spin_once(receiver, timeout_sec=0.1)
        receiver.wait_for_idle_node()
    sys.stdout.write(json.dumps(vars(receiver.findings)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
