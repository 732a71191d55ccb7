"""A consumer: checks what the node publishes, keeps it as a bag, pictures and reports.

``python -m demo.receive FOLDER``: runs until SIGINT, then prints its findings as JSON.
"""

from __future__ import annotations

import contextlib
import json
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import rclpy
from ament_index_python.packages import get_package_share_path
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.serialization import deserialize_message
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore
from sensor_msgs.msg import Image
from vision_msgs.msg import Detection2DArray

from deep_perception import encodings, images, masks
from deep_perception.reports import write_reports
from deep_perception.ros import messages
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray
from demo.recording import TOPIC

NODE = "/analyzer"


@dataclass
class Findings:
    """What came, and what was wrong with it."""

    frames: int = 0
    detections: int = 0
    scenes: int = 0
    annotated: int = 0
    updates: int = 0
    regions: int = 0
    described: int = 0
    latencies_s: list[float] = field(default_factory=list)
    coverages: list[float] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


class Receiver(Node):
    """Subscribes to the camera and to everything that the node says."""

    def __init__(self, folder: Path, writer: Writer) -> None:
        super().__init__("receiver")
        self.findings = Findings()
        self._folder = folder
        self._writer = writer
        self._store = _typestore()
        self._sent: dict[tuple[int, int, str], tuple[float, int, int]] = {}
        self._listen(TOPIC, Image, self._on_frame, keep=False)
        self._listen(f"{NODE}/detections", Detection2DArray, self._on_detections)
        self._listen(f"{NODE}/regions", DescribedRegionArray, self._on_regions)
        self._listen(f"{NODE}/region_updates", DescribedRegion, self._on_update)
        self._listen(f"{NODE}/annotated", Image, self._on_annotated, keep=False)

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
                self.findings.problems.append(f"a box leaves the picture: {box}")

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
            f"{region.name}: the mask disagrees with the picture, its box or its area"
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
            findings.words.append(f"{largest.name} {largest.description.label}")
        name = f"keyframe_{message.keyframe:02d}"
        write_reports(self._folder / "texts", name, scene, title=name)

    def _on_update(self, message: DescribedRegion) -> None:
        self.findings.updates += 1
        self._source(message.header, "region_updates")

    def _on_annotated(self, message: Image) -> None:
        self.findings.annotated += 1
        self._source(message.header, "annotated")
        path = self._folder / "images" / f"keyframe_{self.findings.annotated:02d}_annotated.png"
        images.save_png(path, encodings.message_to_bgr(message))

    def _source(self, header: Any, what: str) -> tuple[float, int, int] | None:
        source = self._sent.get(_key(header))
        if source is None:
            self.findings.problems.append(f"{what}: header {_key(header)} is of no camera frame")
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
    """Listen until interrupted."""
    folder = Path(sys.argv[1])
    rclpy.init()
    with Writer(folder / "messages", version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        receiver = Receiver(folder, writer)
        with contextlib.suppress(KeyboardInterrupt, ExternalShutdownException):
            rclpy.spin(receiver)
    sys.stdout.write(json.dumps(vars(receiver.findings)) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
