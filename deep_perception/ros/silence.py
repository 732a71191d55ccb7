"""Why images do not arrive, found out from the ROS graph, and what to do about it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Sequence

import rclpy
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, ReliabilityPolicy
from rclpy.topic_endpoint_info import TopicEndpointInfo

from deep_perception.ros import graph
from deep_perception.ros.losses import Loss
from deep_perception.untrusted.text import NAME, listed, printable

RAW, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
# So many image topics are compared with the one that is missing.
MAX_TOPICS = 100
# What rcl calls a node that it has not heard of yet.
_UNKNOWN = "_NODE_NAME_UNKNOWN_"
UNKNOWN_NODE = "a node whose name is unknown"


def node_name(info: TopicEndpointInfo) -> str:
    """The full name of the node of a publisher."""
    if info.node_name == _UNKNOWN:
        return UNKNOWN_NODE
    return printable(f"{info.node_namespace.rstrip('/')}/{info.node_name}", NAME)


def published_by(names: Sequence[str]) -> str:
    """Who publishes a topic, to follow its name; "" if there are not several publishers."""
    if len(names) < 2:
        return ""
    counted = (
        f"{name} ({count} publishers)" if count > 1 else name
        for name, count in Counter(names).items()
    )
    return f", which have {len(names)} publishers ({listed(counted)}),"


def is_latched(info: TopicEndpointInfo) -> bool:
    """Whether a publisher sends what it sent last to later subscriptions, too."""
    qos = info.qos_profile
    return bool(
        qos.durability == DurabilityPolicy.TRANSIENT_LOCAL
        and qos.reliability == ReliabilityPolicy.RELIABLE
    )


def refused(infos: Sequence[TopicEndpointInfo], reliability: ReliabilityPolicy) -> str:
    """Which publishers' QoS cannot match a subscription of this reliability; "" if all can."""
    if reliability != ReliabilityPolicy.RELIABLE:
        return ""
    names = sorted(
        {
            node_name(info)
            for info in infos
            if info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT
        }
    )
    if not names:
        return ""
    return (
        f"no image of {listed(names, separator=' and ')} can arrive, which offers best effort, but "
        "this node requests reliable: set ros.reliability to best_effort"
    )


def transport_advice(type_name: str) -> str:
    """How large images get through."""
    if "fastrtps" in rclpy.get_rmw_implementation_identifier():
        advice = (
            "large images need the shared-memory profile config/fastdds_shm.xml on both sides "
            "(shared_memory:=true in the launch file)"
        )
    else:
        advice = "large images need larger socket buffers (net.core.rmem_max) on both sides"
    return advice if type_name == COMPRESSED else f"{advice}, or ros.transport: compressed"


def explain_loss(loss: Loss, topic: str, type_name: str) -> str:
    """How many images of a topic arrive, and what to do about the others."""
    rates = f"{loss.arriving_hz:.1f} of {loss.sent_hz:.1f} images a second arrive on {topic}"
    where = (
        "the others are lost on the way"
        if loss.is_counted
        else "by the gaps between their stamps: the camera driver loses the others, or they are "
        "lost on the way"
    )
    return f"{rates}, {where}: {transport_advice(type_name)}"


def explain(
    *,
    node: Node,
    camera: str,
    wanted: str,
    topic: str,
    type_name: str,
    reliability: ReliabilityPolicy,
    received: int,
) -> str:
    """Why no image of ``type_name`` arrives on ``topic``, and what to do about it.

    ``wanted`` is the base topic of the camera.
    """
    suggest = _Suggestion(node, camera, wanted)
    publishers = graph.publishers(node, topic)
    if not publishers:
        lost = " any more" if received else ""
        return f"{topic} has no publisher{lost}; {suggest}"
    matching = [info for info in publishers if info.topic_type == type_name]
    if not matching:
        found = listed(sorted({info.topic_type for info in publishers}))
        return f"{topic} carries {found}, expected {type_name}; {suggest}"
    if reliability == ReliabilityPolicy.RELIABLE and all(
        info.qos_profile.reliability == ReliabilityPolicy.BEST_EFFORT for info in matching
    ):
        return (
            f"{topic} is published as best effort, but this node requests reliable; "
            "set ros.reliability to best_effort"
        )
    names = listed(sorted({node_name(info) for info in matching}), separator=" and ")
    return (
        f"{topic} has a publisher ({names}) but no image arrives; the camera may be paused, or its "
        f"images are lost on the way: {transport_advice(type_name)}"
    )


class _Suggestion:
    """Which topic may be meant; it is looked for when the text is needed."""

    def __init__(self, node: Node, camera: str, wanted: str) -> None:
        self._node, self._camera, self._wanted = node, camera, wanted

    def __str__(self) -> str:
        node = self._node
        # Topics of other cameras of this node are no suggestion.
        taken = {subscription.topic_name for subscription in node.subscriptions}
        own_topics = f"{node.get_fully_qualified_name()}/"
        wanted = self._wanted.removesuffix("/compressed")
        names = [
            name
            for name, types in graph.topics(node)
            if set(types) & {RAW, COMPRESSED} and not name.startswith(own_topics)
        ]
        # The ones that are meant and used first, because there may be thousands.
        names.sort(key=lambda name: (not name.startswith(wanted), name not in taken))
        # The graph also lists topics that have subscriptions only.
        images = [name for name in names[:MAX_TOPICS] if node.count_publishers(name)]
        bases = {name.removesuffix("/compressed") for name in images if name not in taken}
        if wanted in bases:
            return "its images come in the other transport: set ros.transport to auto"
        used = sorted({name.removesuffix("/compressed") for name in images if name in taken})
        bases -= set(used)
        others = f"{listed(used)} of other cameras of this node" if used else ""
        if bases:
            nearest = printable(
                difflib.get_close_matches(wanted, sorted(bases), n=1, cutoff=0.0)[0], NAME
            )
            own = f"{self._camera}/image" if self._camera else "image"
            also = f" (visible as well: {others})" if others else ""
            return f"the nearest image topic is {nearest}: remap with -r {own}:={nearest}{also}"
        if others:
            return f"the only images that are visible are {others}: is this camera running?"
        return "no image topic is visible at all: is the camera running, in this ROS_DOMAIN_ID?"
