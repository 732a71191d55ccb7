"""The image subscription of one camera: its topic and type, and why no image arrives."""

from __future__ import annotations

import difflib
import re
import time
from collections import deque
from dataclasses import dataclass

from rclpy.node import Node
from rclpy.qos import HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from sensor_msgs.msg import CompressedImage, Image

from deep_perception.ros.latest import Latest
from deep_perception.settings import RosSettings
from deep_perception.settings.options import SettingsError

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TYPES = {RAW: Image, COMPRESSED: CompressedImage}

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")
# The number of frames over which the rate of a camera is measured.
RATE_FRAMES = 50


def camera_names(text: str) -> tuple[str, ...]:
    """The names in ``ros.cameras``; the one name "" if it is empty. Raises SettingsError."""
    names = tuple(name.strip().strip("/") for name in text.split(",")) if text.strip() else ("",)
    for name in names:
        if text.strip() and not NAME.fullmatch(name):
            raise SettingsError(
                f"ros.cameras: {name!r} is not allowed; expected ROS names with commas between "
                "them, such as front,rear"
            )
    if len(set(names)) < len(names):
        raise SettingsError(f"ros.cameras: {text!r} names a camera twice")
    return names


@dataclass(frozen=True)
class ReceivedFrame:
    """An image message and the time of its arrival (seconds of time.monotonic)."""

    message: Image | CompressedImage
    received_s: float


class ImageInput:
    """Subscribe to ``image``, or ``<name>/image`` (remappable), and leave frames in a mailbox."""

    def __init__(
        self, *, node: Node, name: str, settings: RosSettings, frames: Latest[ReceivedFrame]
    ) -> None:
        self._node = node
        self.name = name
        self._settings = settings
        self._topic = node.resolve_topic_name(f"{name}/image" if name else "image")
        self._subscription: Subscription | None = None
        self._connected = ("", "")
        self._frames = frames
        self.received = 0
        self._started_s = time.monotonic()
        self._times_s: deque[float] = deque(maxlen=RATE_FRAMES)
        compressed_only = settings.transport == "compressed"
        topic = f"{self._topic}/compressed" if compressed_only else self._topic
        self._connect(topic, COMPRESSED if compressed_only else RAW)

    @property
    def topic(self) -> str:
        """The topic of the subscription."""
        return self._connected[0]

    @property
    def type(self) -> str:
        """The message type of the subscription."""
        return self._connected[1]

    def close(self) -> None:
        """Destroy the subscription."""
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._subscription = None

    @property
    def replaced(self) -> int:
        """The number of frames that a newer one replaced before they were analysed."""
        return self._frames.replaced[self.name]

    def silent_s(self) -> float:
        """Seconds since the last frame, or since the subscription if there was none."""
        return time.monotonic() - (self._times_s[-1] if self._times_s else self._started_s)

    def rate_hz(self) -> float:
        """Recent frames per second; the rate falls while no frame arrives."""
        times_s = tuple(self._times_s)
        return (len(times_s) - 1) / (time.monotonic() - times_s[0]) if len(times_s) > 1 else 0.0

    def find_input(self) -> None:
        """Subscribe to what is published; of raw and compressed images, raw ones are preferred.

        To be called a few times a second while no image arrives. The topics and types that are
        considered depend on ``ros.transport``.
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
        """Why no image arrives and what to do about it, found out from the ROS graph."""
        publishers = self._node.get_publishers_info_by_topic(self.topic)
        if not publishers:
            lost = " any more" if self.received else ""
            return f"{self.topic} has no publisher{lost}; {self._suggest_topic()}"
        if all(info.topic_type != self.type for info in publishers):
            found = ", ".join(sorted({info.topic_type for info in publishers}))
            return f"{self.topic} carries {found}, expected {self.type}; {self._suggest_topic()}"
        wants_reliable = self._settings.reliability == "reliable"
        if wants_reliable and all(
            info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for info in publishers
        ):
            return (
                f"{self.topic} is published as best effort, but this node requests reliable; "
                "set ros.reliability to best_effort"
            )
        return (
            f"{self.topic} has a publisher but no image arrives; the camera may be paused, or its "
            "images are lost on the way: large images need the shared-memory profile "
            "config/fastdds_shm.xml on both sides, or ros.transport: compressed"
        )

    def _published_types(self, topic: str) -> set[str]:
        return {info.topic_type for info in self._node.get_publishers_info_by_topic(topic)}

    def _connect(self, topic: str, type_name: str) -> None:
        if self._connected == (topic, type_name):
            return
        if self._subscription is not None:
            self._node.destroy_subscription(self._subscription)
            self._node.get_logger().info(f"subscribing to {topic} ({type_name})")
            self._times_s.clear()
            self._started_s = time.monotonic()
        reliability = ReliabilityPolicy[self._settings.reliability.upper()]
        # Only the newest frame is used, so the middleware keeps one.
        qos = QoSProfile(depth=1, history=HistoryPolicy.KEEP_LAST, reliability=reliability)
        self._subscription = self._node.create_subscription(
            TYPES[type_name], topic, self._on_image, qos
        )
        self._connected = (topic, type_name)

    def _on_image(self, message: Image | CompressedImage) -> None:
        self.received += 1
        received_s = time.monotonic()
        self._times_s.append(received_s)
        self._frames.put(ReceivedFrame(message, received_s), self.name)

    def _suggest_topic(self) -> str:
        # Topics of other cameras of this node are no suggestion.
        taken = {subscription.topic_name for subscription in self._node.subscriptions}
        own_topics = f"{self._node.get_fully_qualified_name()}/"
        images = [
            name
            for name, types in self._node.get_topic_names_and_types()
            if set(types) & TYPES.keys()
            and not name.startswith(own_topics)
            and name not in taken
            # The graph also lists topics that have subscriptions only.
            and self._node.count_publishers(name)
        ]
        if not images:
            return "no image topic is visible at all: is the camera running, in this ROS_DOMAIN_ID?"
        bases = {name.removesuffix("/compressed") for name in images}
        wanted = self._topic.removesuffix("/compressed")
        if wanted in bases:
            return "its images come in the other transport: set ros.transport to auto"
        nearest = difflib.get_close_matches(wanted, sorted(bases), n=1, cutoff=0.0)[0]
        own = f"{self.name}/image" if self.name else "image"
        return f"the nearest image topic is {nearest}: remap with -r {own}:={nearest}"
