"""The image input of one camera: which topic and type, the newest frame, and why none comes."""

from __future__ import annotations

import difflib
import time
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from deep_perception.latest import Latest
from deep_perception.settings import RosSettings

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TYPES = {RAW: Image, COMPRESSED: CompressedImage}


@dataclass(frozen=True)
class Frame:
    """An image message, and when it came (seconds of time.monotonic)."""

    message: Image | CompressedImage
    received_s: float


class Camera:
    """Subscribes to ``image`` (remappable) and keeps the newest frame in ``frames``."""

    def __init__(self, node: Node, settings: RosSettings) -> None:
        self._node = node
        self._settings = settings
        self._topic = node.resolve_topic_name("image")
        self._subscription: Subscription | None = None
        self._connected = ("", "")
        self.frames: Latest[Frame] = Latest()
        self.received = 0
        self.last_received_s = time.monotonic()
        compressed_only = settings.transport == "compressed"
        topic = f"{self._topic}/compressed" if compressed_only else self._topic
        self._connect(topic, COMPRESSED if compressed_only else RAW)

    @property
    def topic(self) -> str:
        """The topic that is subscribed to."""
        return self._connected[0]

    @property
    def type(self) -> str:
        """The message type that is subscribed to."""
        return self._connected[1]

    def silent_s(self) -> float:
        """Seconds since the last frame, or since the start when there was none."""
        return time.monotonic() - self.last_received_s

    def find_input(self) -> None:
        """Follow what is published: raw first, else compressed. For ``transport: auto``.

        Cheap; meant to be called now and then while no image comes.
        """
        compressed = f"{self._topic}/compressed"
        candidates = {
            "auto": ((self._topic, RAW), (self._topic, COMPRESSED), (compressed, COMPRESSED)),
            "raw": ((self._topic, RAW),),
            "compressed": ((compressed, COMPRESSED), (self._topic, COMPRESSED)),
        }[self._settings.transport]
        for topic, type_name in candidates:
            if type_name in self._published_types(topic):
                self._connect(topic, type_name)
                return

    def explain_silence(self) -> str:
        """What keeps images from coming, and what to do, from what the graph knows."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not publishers:
            return f"nobody publishes {self.topic}; {self._nearest()}"
        if all(info.topic_type != self.type for info in publishers):
            found = ", ".join(sorted({info.topic_type for info in publishers}))
            return f"{self.topic} carries {found}, expected {self.type}; {self._nearest()}"
        wants_reliable = self._settings.reliability == "reliable"
        if wants_reliable and all(
            info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for info in publishers
        ):
            return (
                f"{self.topic} is published best effort, this node asks for reliable; "
                "set ros.reliability to best_effort"
            )
        return (
            f"{self.topic} has a publisher but no image arrives; the camera may be paused, or its "
            "pictures are lost on the way: big pictures need the shared-memory profile "
            "config/fastdds_shm.xml on both sides, or ros.transport: compressed"
        )

    def _published_types(self, topic: str) -> set[str]:
        return {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}

    def _connect(self, topic: str, type_name: str) -> None:
        if self._connected == (topic, type_name):
            return
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._node.get_logger().info(f"images come as {type_name} on {topic}")
        reliability = ReliabilityPolicy[self._settings.reliability.upper()]
        # Only the newest frame is of use, so the middleware keeps no more than that.
        qos = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=reliability)
        self._subscription = self._node.create_subscription(
            TYPES[type_name], topic, self._on_image, qos
        )
        self._connected = (topic, type_name)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.received += 1
        self.last_received_s = time.monotonic()
        self.frames.put(Frame(message, self.last_received_s))

    def _nearest(self) -> str:
        images = [
            name
            for name, types in self._node.get_topic_names_and_types()
            if set(types) & TYPES.keys()
            and not name.startswith(f"{self._own_prefix()}/")
            # Topics that are only subscribed to, as by this node itself, are listed too.
            and self._node.count_publishers(name)
        ]
        if not images:
            return "no image topic is visible at all: is the camera running, in this ROS_DOMAIN_ID?"
        bases = {name.removesuffix("/compressed") for name in images}
        wanted = self._topic.removesuffix("/compressed")
        if wanted in bases:
            return "its pictures come in the other transport: set ros.transport to auto"
        near = difflib.get_close_matches(wanted, sorted(bases), n=1, cutoff=0.0)[0]
        return f"the nearest image topic is {near}: remap with -r image:={near}"

    def _own_prefix(self) -> str:
        return str(self._node.get_fully_qualified_name())
