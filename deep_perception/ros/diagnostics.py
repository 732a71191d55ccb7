"""``/diagnostics``: is there input, is it analysed, and if not, why."""

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
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.settings import RosSettings

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


# A frame that takes longer than this is worth a word.
LONG_S = 30.0
# With every other frame broken a camera is not well: what is well has been so for this long ...
SETTLED_S = 5.0
# ... and what is heard more often than this is no news.
NEWS_S = 60.0


@dataclass(frozen=True)
class Status:
    """One line of the diagnostics; ``name`` is added to the node's."""

    name: str
    level: bytes
    message: str
    values: Mapping[str, object]


def input_status(view: CameraPipeline, settings: RosSettings, standstill: str) -> Status:
    """Whether a camera's images arrive, and if not, why.

    ``standstill``: why simulated time stands still, "" while it goes on.
    """
    camera = view.camera
    if camera is None:
        return Status(f"{view.name} input".strip(), OK, "not subscribed", {})
    level, message = OK, "images arrive"
    if 0 < settings.input_timeout_s < camera.silent_s():
        level = WARN if standstill else ERROR
        why = standstill or camera.explain_silence()
        message = f"no image for {settings.input_timeout_s:g} s: {why}"
    elif view.input_error:
        level, message = ERROR, view.input_error
    elif camera.received == 0:
        message = "waiting for the first image"
    values = {
        "topic": camera.topic,
        "type": camera.type,
        "received": camera.received,
        "replaced_by_newer": camera.replaced,
        "rate_hz": f"{camera.rate_hz():.1f}",
        "age_s": f"{camera.silent_s():.2f}",
        **{
            key: view.counts[key] for key in ("between_keyframes", "disabled", "failed", "outdated")
        },
    }
    return Status(f"{view.name} input".strip(), level, message, values)


def analysis_status(
    view: CameraPipeline, analyzer: Analyzer, settings: RosSettings, busy_s: float
) -> Status:
    """What was made of a camera's images."""
    values: dict[str, object] = {
        "keyframes": view.counts["analysed"],
        "busy_s": f"{busy_s:.2f}",
        "models_loaded": analyzer.models.loaded,
        **analyzer.models.statistics,
    }
    level, message = OK, "nothing analysed yet"
    if not settings.enabled:
        message = "disabled"
    elif view.latest is not None:
        scene, keyframe = view.latest
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
        elif statuses["pending"] and not (statuses["described"] or statuses["reused"]):
            level = WARN
            message = (
                f"none of {len(scene.regions)} regions has words yet: the describer is slower than "
                "describer.scene_deadline_s or describer.new_keyframe let it be"
            )
    if analyzer.models.warnings:
        level, message = WARN, "; ".join(analyzer.models.warnings)
    if view.analysis_error:
        level, message = ERROR, view.analysis_error
    if busy_s > LONG_S:
        level, message = WARN, f"one frame has been in the works for {busy_s:.0f} s"
    return Status(f"{view.name} analysis".strip(), level, message, values)


class Diagnostics:
    """Publishes named statuses; what is bad is logged once, and so is that it is well again.

    Messages that differ in their numbers only count as the same.
    """

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._lock = threading.Lock()
        # When each message was heard last, and which of them make up a status that is bad.
        self._heard_s: dict[str, float] = {}
        self._bad: dict[str, set[str]] = {}
        self._well_since_s: dict[str, float] = {}

    def logged(self, message: str) -> None:
        """The log has this message already."""
        self._is_news(message)

    def publish(self, found: Iterable[Status]) -> None:
        """All statuses of the node, stamped now."""
        statuses = [self._to_message(status) for status in found]
        for status in statuses:
            self._log_changes(status)
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def tell(self, message: str) -> None:
        """Log a message that is news. From any thread."""
        if self._is_news(message):
            self._node.get_logger().error(message)

    def _is_news(self, message: str) -> bool:
        gist, now_s = _gist(message), time.monotonic()
        with self._lock:
            old = {key for key, heard_s in self._heard_s.items() if now_s - heard_s > NEWS_S}
            for key in old:
                del self._heard_s[key]
            news = gist not in self._heard_s
            self._heard_s[gist] = now_s
        return news

    def _to_message(self, status: Status) -> DiagnosticStatus:
        return DiagnosticStatus(
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: {status.name}",
            hardware_id=self._node.get_fully_qualified_name(),
            level=status.level,
            message=status.message,
            values=[KeyValue(key=key, value=str(value)) for key, value in status.values.items()],
        )

    def _log_changes(self, status: DiagnosticStatus) -> None:
        logger, text = self._node.get_logger(), f"{status.name}: {status.message}"
        if status.level == OK:
            self._settle(status.name)
            return
        self._well_since_s.pop(status.name, None)
        self._bad.setdefault(status.name, set()).add(_gist(status.message))
        if not self._is_news(status.message):
            return
        if status.level == ERROR:
            logger.error(text)
        else:
            logger.warning(text)

    def _settle(self, name: str) -> None:
        """What was bad is well: said once it has been so for a while, then forgotten."""
        if name not in self._bad:
            return
        now_s = time.monotonic()
        if now_s - self._well_since_s.setdefault(name, now_s) >= SETTLED_S:
            del self._well_since_s[name]
            with self._lock:
                for gist in self._bad.pop(name):
                    self._heard_s.pop(gist, None)
            self._node.get_logger().info(f"{name}: well again")


def _gist(message: str) -> str:
    # Not the digits of topics: /cam1/image and /cam2/image are two cameras.
    return re.sub(r"(/[A-Za-z_]\S*)|\d+", lambda found: found[1] or "#", message)
