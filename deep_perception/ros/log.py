"""The log of the node: every line of it is clean, whoever wrote its parts."""

from __future__ import annotations

import time
from typing import Any

import rclpy
from rclpy.node import Node

from deep_perception.redaction.output import clean_line

# Between two warnings about what a peer can cause as often as it likes.
WARN_EVERY_S = 10.0


class Log:
    """The five calls of an rclpy logger, which get texts that may quote others.

    rclpy requires a call site of its own for every severity.
    """

    def __init__(self, logger: Any = None, *, name: str = "") -> None:
        """``name`` is that of a node that could not be constructed."""
        self._logger = logger or rclpy.logging.get_logger(name)  # noqa: TID251

    def debug(self, text: object) -> None:
        """Log a line that is of use when a fault is looked for."""
        self._logger.debug(clean_line(text))

    def info(self, text: object) -> None:
        """Log a milestone."""
        self._logger.info(clean_line(text))

    def warning(self, text: object) -> None:
        """Log that something is not as it should be."""
        self._logger.warning(clean_line(text))

    def error(self, text: object) -> None:
        """Log that something failed."""
        self._logger.error(clean_line(text))

    def fatal(self, text: object) -> None:
        """Log why the node ends."""
        self._logger.fatal(clean_line(text))


class RareWarning:
    """A warning about requests of others: the log gets one of them in ``WARN_EVERY_S`` seconds."""

    def __init__(self, node: Node) -> None:
        """``node``: whose log it is."""
        self._node = node
        self._warned_s = -WARN_EVERY_S

    def log(self, text: object) -> None:
        """Log a warning, unless there was one lately."""
        now_s = time.monotonic()
        if now_s - self._warned_s >= WARN_EVERY_S:
            self._warned_s = now_s
            self._node.get_logger().warning(text)
