"""``/diagnostics``: is there input, is it analysed, and if not, why."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes named statuses; a status that turns bad or changes is logged once.

    Messages that differ in their numbers only count as the same. ``logged`` are messages that the
    log has already.
    """

    def __init__(self, node: Node, logged: Iterable[str] = ()) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._logged = {_gist(message) for message in logged}
        self._said: dict[str, str] = {}

    def publish(self, statuses: list[DiagnosticStatus]) -> None:
        """All statuses of the node, stamped now."""
        for status in statuses:
            self._log_changes(status)
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def tell(self, message: str) -> None:
        """Log a message that has not been logged yet. From any thread."""
        if _gist(message) not in self._logged:
            self._logged.add(_gist(message))
            self._node.get_logger().error(message)

    def status(
        self, name: str, level: bytes, message: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        """One status, named after the node."""
        return DiagnosticStatus(
            name=f"{self._node.get_fully_qualified_name().lstrip('/')}: {name}",
            hardware_id=self._node.get_fully_qualified_name(),
            level=level,
            message=message,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _log_changes(self, status: DiagnosticStatus) -> None:
        said = self._said.get(status.name, "")
        now = "" if status.level == OK else _gist(status.message)
        if now == said:
            return
        self._said[status.name] = now
        logger, text = self._node.get_logger(), f"{status.name}: {status.message}"
        if not now:
            logger.info(f"{status.name}: well again")
        elif now in self._logged:
            return
        elif status.level == ERROR:
            logger.error(text)
        else:
            logger.warning(text)


def _gist(message: str) -> str:
    return re.sub(r"\d+", "#", message)
