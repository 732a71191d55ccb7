"""``/diagnostics``: is there input, is it analysed, and if not, why."""

from __future__ import annotations

from collections.abc import Mapping

from diagnostic_msgs.msg import DiagnosticArray, DiagnosticStatus, KeyValue
from rclpy.node import Node

OK, WARN, ERROR = DiagnosticStatus.OK, DiagnosticStatus.WARN, DiagnosticStatus.ERROR


class Diagnostics:
    """Publishes named statuses; a status that turns bad or changes is logged once."""

    def __init__(self, node: Node) -> None:
        self._node = node
        self._publisher = node.create_publisher(DiagnosticArray, "/diagnostics", 10)
        self._said: dict[str, str] = {}

    def publish(self, statuses: list[DiagnosticStatus]) -> None:
        """All statuses of the node, stamped now."""
        for status in statuses:
            self._log_changes(status)
        message = DiagnosticArray(status=statuses)
        message.header.stamp = self._node.get_clock().now().to_msg()
        self._publisher.publish(message)

    def status(
        self, name: str, level: bytes, message: str, values: Mapping[str, object]
    ) -> DiagnosticStatus:
        """One status, named after the node."""
        return DiagnosticStatus(
            name=f"{self._node.get_name()}: {name}",
            hardware_id=self._node.get_fully_qualified_name(),
            level=level,
            message=message,
            values=[KeyValue(key=key, value=str(value)) for key, value in values.items()],
        )

    def _log_changes(self, status: DiagnosticStatus) -> None:
        said = self._said.get(status.name, "")
        now = "" if status.level == OK else status.message
        if now == said:
            return
        self._said[status.name] = now
        if now:
            self._node.get_logger().warning(f"{status.name}: {now}")
        else:
            self._node.get_logger().info(f"{status.name}: well again")
