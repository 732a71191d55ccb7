"""What ``deep_perception doctor`` sees of ROS: middleware, image topics, analyzer nodes."""

from __future__ import annotations

import itertools
import os
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus
from lifecycle_msgs.srv import GetState
from rcl_interfaces.msg import ParameterType
from rcl_interfaces.srv import GetParameters
from rclpy.executors import SingleThreadedExecutor
from rclpy.node import Node
from rclpy.qos import DurabilityPolicy, QoSProfile, ReliabilityPolicy

from deep_perception.doctor import Finding, Level
from deep_perception.ros import graph
from deep_perception.ros.doctor_topics import (
    TOPICS,
    Heard,
    count,
    middleware_findings,
    topic_finding,
)
from deep_perception.ros.image_input import TYPES
from deep_perception.untrusted.text import NAME, printable

NODES = "Analyzer nodes"
SCENE_SERVICE = "deep_perception_msgs/srv/GetScene"
# The graph is complete when it has a node and an image topic and nothing was new for SETTLED_S, and
# after LONGEST_S in any case.
SETTLED_S, LONGEST_S = 1.0, 4.0
LISTEN_S, ANSWER_S = 2.0, 3.0
# The settings of a node that say which server it uses.
ASKED = ("describer.backend", "describer.url", "describer.model", "describer.fallback",
         "segmenter.backend", "segmenter.fallback")  # fmt: skip
# What is looked at: each node costs time, and anybody can announce thousands.
MOST_NODES, MOST_TOPICS, MOST_STATUSES = 10, 30, 1000
# Of a parameter of another node.
MOST_CHARACTERS = 1000
LEVELS: dict[bytes, Level] = {DiagnosticStatus.OK: "ok", DiagnosticStatus.WARN: "note"}


def check_graph(*, listen_s: float = LISTEN_S) -> tuple[list[Finding], list[dict[str, Any]]]:
    """Return the findings, and the parameters of each analyzer node that answered.

    Takes about ``listen_s`` and three seconds more. Images are received for ``listen_s``.
    """
    context = rclpy.Context()
    rclpy.init(context=context)
    try:
        node = rclpy.create_node(f"deep_perception_doctor_{os.getpid()}", context=context)
        executor = SingleThreadedExecutor(context=context)
        executor.add_node(node)
        try:
            return _Look(node, executor).findings(listen_s)
        finally:
            executor.shutdown()
            node.destroy_node()
    finally:
        rclpy.shutdown(context=context)


class _Look:
    def __init__(self, node: Node, executor: SingleThreadedExecutor) -> None:
        self._node, self._executor = node, executor
        self._statuses: dict[str, DiagnosticStatus] = {}
        node.create_subscription(DiagnosticArray, "/diagnostics", self._on_diagnostics, 20)

    def findings(self, listen_s: float) -> tuple[list[Finding], list[dict[str, Any]]]:
        found = middleware_findings()
        self._settle()
        analyzers = self._analyzers()
        heard = self._listen(listen_s, analyzers)
        found += self._topics(heard)
        found += self._same_names()
        parameters = []
        for name in analyzers:
            parameters.append(self._parameters(name))
            found += self._analyzer(name, parameters[-1])
        if not analyzers:
            found.append(
                Finding(
                    section=NODES,
                    level="note",
                    what="no analyzer node is running here",
                    remedy="ros2 launch deep_perception analyzer.launch.py image:=TOPIC, or in a "
                    "checkout: tools/with_ros python -m deep_perception.ros --ros-args "
                    "-r image:=TOPIC; a node that runs has another ROS_DOMAIN_ID, "
                    "RMW_IMPLEMENTATION or discovery range",
                )
            )
        return found, [each for each in parameters if each]

    # -- waiting ----------------------------------------------------------------------------------

    def _spin(self, seconds: float, done: Callable[[], object] = lambda: False) -> None:
        ends_s = time.monotonic() + seconds
        while not done() and (left_s := ends_s - time.monotonic()) > 0:
            self._executor.spin_once(timeout_sec=min(left_s, 0.1))

    def _settle(self) -> None:
        """Wait until the graph does not change any more."""
        ends_s, quiet_since_s, known = time.monotonic() + LONGEST_S, time.monotonic(), None
        while time.monotonic() < ends_s:
            self._spin(0.1)
            now = (sorted(graph.node_names(self._node)), sorted(graph.topics(self._node)))
            if now != known:
                known, quiet_since_s = now, time.monotonic()
            if time.monotonic() > quiet_since_s + SETTLED_S:
                analyzers = self._analyzers()
                if analyzers and self._image_topics(analyzers):
                    return

    def _on_diagnostics(self, message: DiagnosticArray) -> None:
        # The status of a node in use is renewed, and others may invent any number of names.
        if len(self._statuses) < MOST_STATUSES:
            self._statuses |= {status.name: status for status in message.status[:MOST_STATUSES]}

    # -- image topics -----------------------------------------------------------------------------

    def _image_topics(self, analyzers: Iterable[str]) -> dict[str, str]:
        """The image topics with a publisher and their types, without those of analyzer nodes.

        A subscription of ``~/annotated`` would make a node draw.
        """
        own = tuple(f"{name}/" for name in analyzers)
        return {
            topic: next(kind for kind in types if kind in TYPES)
            for topic, types in sorted(graph.topics(self._node))
            if set(types) & TYPES.keys()
            and not topic.startswith(own)
            and self._node.count_publishers(topic)
        }

    def _listen(self, seconds: float, analyzers: list[str]) -> dict[str, Heard]:
        topics = dict(itertools.islice(self._image_topics(analyzers).items(), MOST_TOPICS))
        heard: dict[str, Heard] = defaultdict(Heard)
        subscriptions = []
        for topic, kind in topics.items():
            infos = graph.publishers(self._node, topic)
            latched = all(
                info.qos_profile.durability == DurabilityPolicy.TRANSIENT_LOCAL for info in infos
            )
            durability = DurabilityPolicy.TRANSIENT_LOCAL if latched else DurabilityPolicy.VOLATILE
            qos = QoSProfile(
                depth=1, reliability=ReliabilityPolicy.BEST_EFFORT, durability=durability
            )
            subscriptions.append(
                self._node.create_subscription(
                    TYPES[kind], topic, lambda message, to=heard[topic]: count(message, to), qos
                )
            )

        def all_known() -> bool:
            wanted = {name.lstrip("/") for name in analyzers}
            return all(any(key.startswith(name) for key in self._statuses) for name in wanted)

        if subscriptions:
            self._spin(seconds)
        # The diagnostics come once a second, unless another period is set.
        self._spin(ANSWER_S, all_known)
        for subscription in subscriptions:
            self._node.destroy_subscription(subscription)
        return heard

    def _topics(self, heard: dict[str, Heard]) -> list[Finding]:
        if not heard:
            return [
                Finding(
                    section=TOPICS,
                    level="note",
                    what="no image topic has a publisher",
                    remedy="start the camera; if it runs, compare ROS_DOMAIN_ID, "
                    "RMW_IMPLEMENTATION and ROS_AUTOMATIC_DISCOVERY_RANGE with its shell",
                )
            ]
        found = [topic_finding(self._node, topic, each) for topic, each in heard.items()]
        if len(found) == MOST_TOPICS:
            what = f"these are the first {MOST_TOPICS} image topics; there may be more"
            found.append(Finding(section=TOPICS, level="note", what=what))
        return found

    # -- nodes ------------------------------------------------------------------------------------

    def _same_names(self) -> list[Finding]:
        if not graph.is_readable(self._node):
            return [Finding(section=NODES, level="wrong", what=graph.UNREADABLE)]
        names = Counter(graph.node_names(self._node))
        twice = [(name, count) for name, count in names.items() if count > 1]
        return [
            Finding(
                section=NODES,
                level="wrong",
                what=f"{count} nodes are named {printable(name, NAME)}: their services and "
                "parameters are mixed up",
                remedy="end all but one, or give another name with -r __node:=NAME",
            )
            for name, count in twice[:MOST_NODES]
        ]

    def _analyzers(self) -> list[str]:
        names = {
            service.removesuffix("/get_scene")
            for service, types in self._node.get_service_names_and_types()
            if SCENE_SERVICE in types and service.endswith("/get_scene")
        }
        # Each of them is waited for.
        return sorted(names)[:MOST_NODES]

    def _call(self, kind: Any, name: str, request: Any) -> Any:
        client = self._node.create_client(kind, name)
        try:
            future = None

            def answered() -> bool:
                nonlocal future
                if future is None and client.service_is_ready():
                    future = client.call_async(request)
                return future is not None and future.done()

            self._spin(ANSWER_S, answered)
            return future.result() if future is not None and future.done() else None
        finally:
            self._node.destroy_client(client)

    def _parameters(self, name: str) -> dict[str, Any]:
        answer = self._call(
            GetParameters, f"{name}/get_parameters", GetParameters.Request(names=list(ASKED))
        )
        values = answer.values if answer else []
        return {
            key: value.string_value[:MOST_CHARACTERS]
            for key, value in zip(ASKED, values, strict=False)
            if value.type == ParameterType.PARAMETER_STRING
        }

    def _analyzer(self, name: str, parameters: dict[str, Any]) -> list[Finding]:
        answer = self._call(GetState, f"{name}/get_state", GetState.Request())
        if answer is None:
            return [
                Finding(
                    section=NODES,
                    level="wrong",
                    what=f"{name} does not answer within {ANSWER_S:.0f} s",
                    remedy="see its log; start it again",
                )
            ]
        state = printable(answer.current_state.label)
        backends = ", ".join(
            f"{kind} {printable(parameters[f'{kind}.backend'])}"
            for kind in ("segmenter", "describer")
            if parameters.get(f"{kind}.backend")
        )
        remedies = {
            "unconfigured": f"its log says why; then ros2 lifecycle set {name} configure",
            "inactive": f"ros2 lifecycle set {name} activate",
        }
        level: Level = "ok" if state == "active" else "wrong"
        what = f"{name} is {state} ({backends})"
        found = [Finding(section=NODES, level=level, what=what, remedy=remedies.get(state, ""))]
        prefix = f"{name.lstrip('/')}: "
        statuses = {k: v for k, v in self._statuses.items() if k.startswith(prefix)}
        for key, status in sorted(statuses.items()):
            values = {each.key: each.value for each in status.values}
            more = [printable(values["topic"], NAME)] if values.get("topic") else []
            more += [f"{printable(values['rate_hz'])} Hz"] if "rate_hz" in values else []
            what = f"{name} {key.removeprefix(prefix)}: {status.message}"
            what += f" ({', '.join(more)})" if more else ""
            level = LEVELS.get(status.level, "wrong")
            found.append(Finding(section=NODES, level=level, what=what))
        if not statuses and state == "active":
            what = f"{name} publishes no /diagnostics: it is busy or hangs"
            found.append(Finding(section=NODES, level="wrong", what=what, remedy="see its log"))
        return found
