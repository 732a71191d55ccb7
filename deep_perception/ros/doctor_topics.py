"""What ``deep_perception doctor`` says of one image topic, and of the middleware."""

from __future__ import annotations

import os
import time
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy

from deep_perception.doctor import Finding
from deep_perception.encodings import ENCODINGS
from deep_perception.ros import graph
from deep_perception.ros.silence import COMPRESSED, RAW
from deep_perception.untrusted.text import QUOTED, listed, printable

MIDDLEWARE, TOPICS = "ROS", "Image topics"
MOST_KINDS = 20


@dataclass
class Heard:
    """What came on one image topic."""

    count: int = 0
    first_s: float = 0.0
    last_s: float = 0.0
    kinds: Counter[str] = field(default_factory=Counter)

    @property
    def rate_hz(self) -> float:
        """Messages a second between the first and the last one."""
        return (self.count - 1) / (self.last_s - self.first_s) if self.count > 1 else 0.0


def topic_finding(node: Node, topic: str, heard: Heard) -> Finding:
    """Say who publishes an image topic, how, and what came."""
    infos = graph.publishers(node, topic)
    kinds = {info.topic_type for info in infos if info.topic_type in (RAW, COMPRESSED)}
    names = sorted(f"{info.node_namespace.rstrip('/')}/{info.node_name}" for info in infos)
    qos = sorted(
        {
            f"{info.qos_profile.reliability.name.lower().replace('_', ' ')}"
            + (
                ", latched"
                if info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL
                else ""
            )
            for info in infos
        }
    )
    start = f"{topic} ({', '.join(sorted(kind.split('/')[-1] for kind in kinds))}"
    start += f", {'; '.join(qos)}, from {listed(names)})"
    if not heard.count:
        return Finding(
            section=TOPICS,
            level="note",
            what=f"{start}: no image arrived",
            remedy="is the camera paused? Large raw images get lost without the profile "
            "config/fastdds_shm.xml on both sides: see docs/troubleshooting.md",
        )
    text = f"{start}: {listed(heard.kinds)}"
    text += f", {heard.rate_hz:.1f} Hz" if heard.count > 1 else ", one image"
    unknown = [kind.split()[0] for kind in heard.kinds if kind.startswith("unsupported")]
    if unknown:
        remedy = "set another encoding in the camera's driver"
        return Finding(section=TOPICS, level="wrong", what=text, remedy=remedy)
    if len(infos) > 1:
        remedy = "one topic must have one camera: remap the others"
        return Finding(section=TOPICS, level="note", what=text, remedy=remedy)
    return Finding(section=TOPICS, level="ok", what=text)


def count(message: Any, to: Heard) -> None:
    """Note the arrival of an Image or CompressedImage."""
    now_s = time.monotonic()
    to.first_s, to.last_s, to.count = to.first_s or now_s, now_s, to.count + 1
    if not hasattr(message, "encoding"):
        _count_kind(to, printable(message.format) or "no format")
        return
    known = message.encoding[:QUOTED].strip().lower() in ENCODINGS
    text = f"{message.width}x{message.height} {printable(message.encoding) or '(no encoding)'}"
    _count_kind(to, text if known else f"unsupported encoding: {text}")


def _count_kind(to: Heard, kind: str) -> None:
    # A camera has one kind of image, or two.
    if kind in to.kinds or len(to.kinds) < MOST_KINDS:
        to.kinds[kind] += 1


def middleware_findings() -> list[Finding]:
    """Say which ROS, middleware, domain and reach this shell has."""
    domain = os.environ.get("ROS_DOMAIN_ID", "0")
    reach = os.environ.get("ROS_AUTOMATIC_DISCOVERY_RANGE", "")
    if os.environ.get("ROS_LOCALHOST_ONLY") == "1":
        reach = "LOCALHOST (ROS_LOCALHOST_ONLY)"
    rmw = rclpy.get_rmw_implementation_identifier()
    text = f"ROS 2 {os.environ.get('ROS_DISTRO', '(no ROS_DISTRO)')}, {rmw}, ROS_DOMAIN_ID {domain}"
    found = [Finding(section=MIDDLEWARE, level="ok", what=f"{text}, discovery {reach or 'SUBNET'}")]
    if reach.startswith("LOCALHOST"):
        found.append(
            Finding(
                section=MIDDLEWARE,
                level="note",
                what="only nodes on this computer are visible",
                remedy="for a camera on another one: ROS_AUTOMATIC_DISCOVERY_RANGE=SUBNET",
            )
        )
    names = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")
    if "fastrtps" in rmw and not any(os.environ.get(name) for name in names):
        found.append(
            Finding(
                section=MIDDLEWARE,
                level="note",
                what="no Fast DDS profile in this shell: large raw images may get lost",
                remedy=f"export {names[0]}=…/config/fastdds_shm.xml in this shell and the camera's",
            )
        )
    return found
