"""The image subscription of one camera: topic, type and QoS, and the time of its frames."""

from __future__ import annotations

import re
import time
from collections import deque
from collections.abc import Callable
from typing import Any

from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, HistoryPolicy, QoSProfile, ReliabilityPolicy
from rclpy.subscription import Subscription
from rclpy.topic_endpoint_info import TopicEndpointInfo
from sensor_msgs.msg import CompressedImage, Image

from deep_perception.ros import graph, silence
from deep_perception.ros.latest import Latest
from deep_perception.ros.losses import Losses
from deep_perception.ros.received_frame import ReceivedFrame
from deep_perception.ros.silence import COMPRESSED, RAW
from deep_perception.settings import RosSettings
from deep_perception.settings.options import SettingsError
from deep_perception.stamps import NANOSECONDS, FrameStamps, header_of

TYPES = {RAW: Image, COMPRESSED: CompressedImage}

NAME = re.compile(r"[A-Za-z][A-Za-z0-9_]*(/[A-Za-z][A-Za-z0-9_]*)*")
# The number of frames over which the rate of a camera is measured.
RATE_FRAMES = 50
# Only the newest frame is used. The others show whether frames got lost on the way, or because
# this process did not take them for a moment.
DEPTH = 5
# A node may be heard of later than its publishers.
NAMES_WITHIN_S = 5.0
# Without a frame for this long, the subscription is compared with what is published.
SILENT_S = 1.0


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


class ImageInput:
    """Subscribe to ``image``, or ``<name>/image`` (remappable), and leave frames in a mailbox."""

    def __init__(
        self,
        *,
        node: Node,
        name: str,
        settings: RosSettings,
        frames: Latest[ReceivedFrame],
        warn: Callable[[str], object] | None = None,
    ) -> None:
        """``warn`` gets faults of the stamps at once, and has to suppress repetitions."""
        self._node = node
        self.name = name
        self._settings = settings
        self._topic = node.resolve_topic_name(f"{name}/image" if name else "image")
        self._warn = warn or node.get_logger().warning
        self._subscriptions: dict[DurabilityPolicy, Subscription] = {}
        self._connected = ("", "")
        self._frames = frames
        self._publishers: list[TopicEndpointInfo] = []
        self.received = 0
        compressed_only = settings.transport == "compressed"
        topic = f"{self._topic}/compressed" if compressed_only else self._topic
        self._connect(topic, COMPRESSED if compressed_only else RAW)
        self.watch()

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
        self._unsubscribe(tuple(self._subscriptions))

    @property
    def replaced(self) -> int:
        """The number of frames that a newer one replaced before they were looked at."""
        return self._frames.replaced[self.name]

    @property
    def lost(self) -> int:
        """The number of frames that were lost before they reached the node, as far as is known."""
        return self._losses.lost

    def silent_s(self) -> float:
        """Seconds since the last frame, or since the subscription if there was none."""
        return time.monotonic() - (self._times_s[-1] if self._times_s else self._started_s)

    def rate_hz(self) -> float:
        """Recent frames per second; the rate falls while no frame arrives."""
        times_s = tuple(self._times_s)
        return (len(times_s) - 1) / (time.monotonic() - times_s[0]) if len(times_s) > 1 else 0.0

    @property
    def publishers(self) -> tuple[str, ...]:
        """The nodes that publish the images, as of the last ``watch``."""
        return tuple(sorted(silence.node_name(info) for info in self._publishers))

    def watch(self) -> None:
        """Compare the subscription with what is published; to be called a few times a second.

        While no image arrives, subscribe to what is published, with a QoS that is compatible; of
        raw and compressed images, raw ones are preferred. The topics and types that are considered
        depend on ``ros.transport``.
        """
        if not self.received or self.silent_s() > SILENT_S:
            compressed = f"{self._topic}/compressed"
            candidates = {
                "auto": ((self._topic, RAW), (self._topic, COMPRESSED), (compressed, COMPRESSED)),
                "raw": ((self._topic, RAW),),
                "compressed": ((compressed, COMPRESSED), (self._topic, COMPRESSED)),
            }[self._settings.transport]
            for topic, type_name in candidates:
                if any(info.topic_type == type_name for info in self._infos(topic)):
                    self._connect(topic, type_name)
                    break
            self._match_durability()
        self._publishers = self._matching_infos()
        self._report_stamps()

    def problem(self) -> str:
        """What is wrong with the images that arrive, and what to do; "" if nothing is."""
        if self._stamps.problem:
            return self._stamp_fault
        refused = silence.refused(self._publishers, self._wanted_reliability)
        if refused:
            return f"{self.topic}: {refused}"
        now_s, names = time.monotonic(), self.publishers
        if len(names) > 1:
            return (
                f"the images of {self.topic}{silence.published_by(names)} come from several of "
                "them in turn; let only one of them publish it"
                if self._losses.are_mixed(now_s)
                else ""
            )
        loss = self._losses.loss(now_s)
        return silence.explain_loss(loss, self.topic, self.type) if loss else ""

    def explain_silence(self) -> str:
        """Why no image arrives and what to do about it, found out from the ROS graph."""
        return silence.explain(
            node=self._node,
            camera=self.name,
            wanted=self._topic,
            topic=self.topic,
            type_name=self.type,
            reliability=self._wanted_reliability,
            received=self.received,
        )

    @property
    def sends_seldom(self) -> bool:
        """Whether all publishers are latched and have sent one image each at most, as of a map."""
        return (
            0 < self.received == len(self._times_s) <= len(self._publishers)
            and all(silence.is_latched(info) for info in self._publishers)
        )  # fmt: skip

    # -- subscriptions --------------------------------------------------------------------------

    @property
    def _wanted_reliability(self) -> ReliabilityPolicy:
        return ReliabilityPolicy[self._settings.reliability.upper()]

    def _infos(self, topic: str) -> list[TopicEndpointInfo]:
        return graph.publishers(self._node, topic)

    def _matching_infos(self) -> list[TopicEndpointInfo]:
        return [info for info in self._infos(self.topic) if info.topic_type == self.type]

    def _connect(self, topic: str, type_name: str) -> None:
        if self._connected == (topic, type_name):
            return
        if self._subscriptions:
            self.close()
            self._node.get_logger().info(f"subscribing to {topic} ({type_name})")
        self._connected = (topic, type_name)
        self._times_s: deque[float] = deque(maxlen=RATE_FRAMES)
        self._started_s = time.monotonic()
        self._stamps, self._losses = FrameStamps(), Losses()
        self._stamp_fault = ""
        self._unreported_since_s: float | None = None
        # When the newest frame was sent, by the clock of its publisher.
        self._newest_sent_ns = 0
        self._subscribe(DurabilityPolicy.VOLATILE)

    def _match_durability(self) -> None:
        """Also get the last image of a latched publisher, which sent it before.

        A transient local subscription does not match volatile publishers, and a volatile one gets
        nothing that was sent before: with publishers of both kinds there are two subscriptions.
        """
        infos = self._matching_infos()
        latched = [silence.is_latched(info) for info in infos]
        volatile, transient = DurabilityPolicy.VOLATILE, DurabilityPolicy.TRANSIENT_LOCAL
        wanted = {transient} if any(latched) else {volatile}
        if not all(latched):
            wanted.add(volatile)
        if wanted != self._subscriptions.keys():
            for durability in wanted - self._subscriptions.keys():
                self._subscribe(durability)
            self._unsubscribe(self._subscriptions.keys() - wanted)

    def _subscribe(self, durability: DurabilityPolicy) -> None:
        latched = durability == DurabilityPolicy.TRANSIENT_LOCAL
        topic, type_name = self._connected
        qos = QoSProfile(
            depth=DEPTH,
            history=HistoryPolicy.KEEP_LAST,
            durability=durability,
            # What was sent before comes over a reliable subscription only.
            reliability=ReliabilityPolicy.RELIABLE if latched else self._wanted_reliability,
        )

        # rclpy finds out from the signature that this callback wants the message info.
        def on_image(data: bytes, info: dict[str, Any]) -> None:
            self._on_image(data, info, latched=latched)

        self._subscriptions[durability] = self._node.create_subscription(
            TYPES[type_name], topic, on_image, qos, raw=True
        )

    def _unsubscribe(self, durabilities: Any) -> None:
        for durability in tuple(durabilities):
            self._node.destroy_subscription(self._subscriptions.pop(durability))

    # -- frames ---------------------------------------------------------------------------------

    def _on_image(self, data: bytes, info: dict[str, Any], *, latched: bool = False) -> None:
        sent_ns = info.get("source_timestamp") or 0
        # With two subscriptions a frame comes twice, and a latched one may be older than the last.
        is_known = sent_ns == self._newest_sent_ns or (latched and sent_ns < self._newest_sent_ns)
        if len(self._subscriptions) > 1 and sent_ns and is_known:
            return
        self._newest_sent_ns = max(sent_ns, self._newest_sent_ns)
        received_s, now_ns = time.monotonic(), time.time_ns()
        self.received += 1
        self._times_s.append(received_s)
        stamp_ns, _ = header_of(data)
        before = self._stamps.problem
        effective_ns = self._stamps.effective_ns(
            stamp_ns,
            # Before the first message of /clock, simulated time is 0.
            self._node.get_clock().now().nanoseconds or now_ns,
            several_senders=len(self._publishers) > 1,
        )
        if self._stamps.problem and _kind(self._stamps.problem) != _kind(before):
            self._stamp_fault, self._unreported_since_s = "", received_s
            self._report_stamps()
        middleware_ns = info.get("received_timestamp") or now_ns
        self._losses.add(
            sequence=info.get("publication_sequence_number"),
            stamp_ns=stamp_ns,
            arrival_s=received_s,
            waited_s=(now_ns - middleware_ns) / NANOSECONDS,
        )
        frame = ReceivedFrame(data, received_s, effective_ns, TYPES[self.type])
        self._frames.put(frame, self.name)

    def _report_stamps(self) -> None:
        """Report stamps that are of no use, once it is known which nodes publish them."""
        since_s = self._unreported_since_s
        if since_s is None or not self._stamps.problem:
            return
        self._publishers = self._matching_infos()
        names = self.publishers
        if silence.UNKNOWN_NODE in names and time.monotonic() - since_s < NAMES_WITHIN_S:
            return
        self._unreported_since_s = None
        several = "; let only one of them publish it" if len(names) > 1 else ""
        self._stamp_fault = (
            f"the images of {self.topic}{silence.published_by(names)} {self._stamps.problem}; "
            f"arrival time is used{several}"
        )
        self._warn(self._stamp_fault)


def _kind(problem: str) -> str:
    return re.sub(r"\d+", "#", problem)
