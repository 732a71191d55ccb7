"""``/diagnostics``: whether each camera's images arrive and are analysed, and if not, why."""

from __future__ import annotations

import dataclasses
import re
import threading
import time
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

from deep_perception.analyzer import Analyzer
from deep_perception.redaction.output import clean_line
from deep_perception.ros import graph
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.settings import RosSettings
from deep_perception.untrusted.text import listed

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR

# An analysis that takes longer than this is reported.
LONG_S = 30.0
# A status that was bad must be good for this long before its recovery is logged: with every other
# frame broken, a camera has not recovered.
SETTLED_S = 5.0
# The names of a camera's publishers that are shown.
MOST_PUBLISHERS = 20
# A message is logged again if it did not occur for this long.
FORGET_S = 60.0
# Of this many messages within that time the log has enough: somebody makes them up.
MOST_MESSAGES = 100


@dataclass(frozen=True)
class Status:
    """One entry of the diagnostics; the published name is the node's, followed by ``name``."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, object]


def input_status(pipeline: CameraPipeline, settings: RosSettings, standstill: str) -> Status:
    """Whether a camera's images arrive, and if not, why.

    ``standstill`` is the reason why simulated time stands still, "" if it does not.
    """
    camera = pipeline.camera
    if camera is None:
        return Status(f"{pipeline.name} input".strip(), OK, "not subscribed", {})
    level, message = OK, "images arrive"
    is_silent = 0 < settings.input_timeout_s < camera.silent_s()
    if is_silent and camera.sends_seldom and not pipeline.input_error:
        message = "the latched image arrived; its publisher sends another one when there is one"
    elif is_silent:
        level = WARN if standstill else ERROR
        reason = standstill or camera.explain_silence()
        message = f"no image for {settings.input_timeout_s:g} s: {reason}"
    elif pipeline.input_error:
        level, message = ERROR, pipeline.input_error
    elif camera.received == 0:
        message = "waiting for the first image"
    elif problem := camera.problem():
        level, message = WARN, problem
    values = {
        "topic": camera.topic,
        "type": camera.type,
        "received": camera.received,
        "replaced_by_newer": camera.replaced,
        "lost_before_arrival": camera.lost,
        "publishers": listed(camera.publishers, MOST_PUBLISHERS),
        "rate_hz": f"{camera.rate_hz():.1f}",
        "age_s": f"{camera.silent_s():.2f}",
        **{
            key: pipeline.counts[key]
            for key in ("between_keyframes", "disabled", "failed", "outdated")
        },
    }
    return Status(f"{pipeline.name} input".strip(), level, message, values)


def analysis_status(
    pipeline: CameraPipeline, analyzer: Analyzer, settings: RosSettings, busy_s: float
) -> Status:
    """The counts and the latest scene of a camera, and what is wrong with the analysis."""
    values: dict[str, object] = {
        "keyframes": pipeline.counts["analysed"],
        "busy_s": f"{busy_s:.2f}",
        "models_loaded": analyzer.models.loaded,
        **analyzer.models.statistics,
    }
    level, message = OK, "nothing analysed yet"
    if not settings.enabled:
        message = "disabled"
    elif pipeline.latest is not None:
        scene, keyframe = pipeline.latest
        message = f"{len(scene.regions)} regions"
        statuses = Counter(region.description.status for region in scene.regions)
        values |= {
            "reason": keyframe.reason,
            "regions": len(scene.regions),
            "failed_descriptions": statuses["failed"],
            "pending_descriptions": statuses["pending"],
            "coverage": f"{scene.coverage:.3f}",
            "segmenter": scene.segmenter,
            **{key: f"{value:.3f}" for key, value in dataclasses.asdict(scene.timings).items()},
        }
        if scene.undescribed:
            level, message = WARN, scene.undescribed
        elif statuses["pending"] and (waiting_s := pipeline.live.unanswered_s) > LONG_S:
            level = WARN
            message = (
                f"{statuses['pending']} of {len(scene.regions)} regions wait for a description: "
                f"the describer has given no answer for {waiting_s:.0f} s"
            )
    if analyzer.models.warnings:
        level, message = WARN, "; ".join(analyzer.models.warnings)
    if pipeline.analysis_error:
        level, message = ERROR, pipeline.analysis_error
    if busy_s > LONG_S:
        level, message = WARN, f"the analysis of one frame has taken {busy_s:.0f} s so far"
    return Status(f"{pipeline.name} analysis".strip(), level, message, values)


def namesake(node: Node) -> str:
    """Whether another node has the name of this one, and what to do about it; "" if not.

    Also why that cannot be known.
    """
    own = node.get_fully_qualified_name()
    names = graph.node_names(node)
    if not names and not graph.is_readable(node):
        return graph.UNREADABLE
    if names.count(own) < 2:
        return ""
    return (
        f"another node has the name {own}: services and parameters reach either of them, and their "
        "topics are mixed; rename one with -r __node:=NAME or -r __ns:=/NAME (a node that was "
        "killed disappears after some 20 s)"
    )


class Diagnostics:
    """Publish statuses, and log each problem once and its recovery once.

    Messages that differ only in their numbers, or in what they quote, count as the same. ``error``
    and ``warning`` may be called from any thread.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._lock = threading.Lock()
        # The time of each message's last occurrence, and the messages of each status that is bad.
        self._last_s: dict[str, float] = {}
        self._bad: dict[str, set[str]] = {}
        self._good_since_s: dict[str, float] = {}

    def mark_as_logged(self, message: str) -> None:
        """Do not log this message for a while: it is in the log already."""
        self._is_new(message)

    def warning(self, message: str) -> None:
        """Log a warning, unless it was logged lately."""
        if self._is_new(message):
            self._node.get_logger().warning(message)

    def error(self, message: str) -> None:
        """Log an error, unless it was logged lately."""
        if self._is_new(message):
            self._node.get_logger().error(message)

    def publish(self, statuses: Iterable[Status]) -> None:
        """Publish all statuses of the node, with the present time as their stamp."""
        converted = [self._to_message(status) for status in statuses]
        for status in converted:
            self._log_change(status)
        message = DiagnosticArray(status=converted)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def _is_new(self, message: str) -> bool:
        pattern, now_s = _pattern_of(message), time.monotonic()
        with self._lock:
            self._last_s = {
                key: last_s for key, last_s in self._last_s.items() if now_s - last_s <= FORGET_S
            }
            is_new = pattern not in self._last_s
            if is_new and len(self._last_s) >= MOST_MESSAGES:
                return False
            self._last_s[pattern] = now_s
        return is_new

    def _to_message(self, status: Status) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: {status.name}",
            hardware_id=self._node.get_fully_qualified_name(),
            level=status.level,
            message=clean_line(status.message),
            values=[
                KeyValue(key=clean_line(key), value=clean_line(value))
                for key, value in status.values.items()
            ],
        )

    def _log_change(self, status: DiagnosticStatus) -> None:
        logger, text = self._node.get_logger(), f"{status.name}: {status.message}"
        if status.level == OK:
            self._log_recovery(status.name)
            return
        self._good_since_s.pop(status.name, None)
        is_new = self._is_new(status.message)
        known = self._bad.setdefault(status.name, set())
        known.add(_pattern_of(status.message))
        with self._lock:
            known &= self._last_s.keys()
        if not is_new:
            return
        if status.level == ERROR:
            logger.error(text)
        else:
            logger.warning(text)

    def _log_recovery(self, name: str) -> None:
        """Log that a bad status is good again, after SETTLED_S; its problems may be logged anew."""
        if name not in self._bad:
            return
        now_s = time.monotonic()
        if now_s - self._good_since_s.setdefault(name, now_s) < SETTLED_S:
            return
        del self._good_since_s[name]
        with self._lock:
            for pattern in self._bad.pop(name):
                self._last_s.pop(pattern, None)
        self._node.get_logger().info(f"{name}: recovered")


def _pattern_of(message: str) -> str:
    # What is quoted is of others: somebody could send another encoding with every frame.
    message = re.sub(r"'.*'", "'#'", clean_line(message))
    # The digits of topics stay: /cam1/image and /cam2/image are two cameras.
    return re.sub(r"(/[A-Za-z_]\S*)|\d+", lambda match: match[1] or "#", message)
