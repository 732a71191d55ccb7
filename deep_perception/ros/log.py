"""The log of the node: every line of it is clean, whoever wrote its parts."""

from __future__ import annotations

from typing import Any

import rclpy

from deep_perception.redaction.output import clean_line
from deep_perception.ros.rclpy_internals import log_for_callers_of

log_for_callers_of(__file__)


class Log:
    """The calls of an rclpy logger, with texts that may quote others.

    ``options`` are those of rclpy: ``throttle_duration_sec``, ``once`` and so on.
    """

    def __init__(self, logger: Any = None, *, name: str = "") -> None:
        """``name`` is that of a node that could not be constructed."""
        self._logger = logger or rclpy.logging.get_logger(name)  # noqa: TID251

    def debug(self, text: object, **options: Any) -> None:
        """Log a line that is of use when a fault is looked for."""
        self._logger.debug(clean_line(text), **options)

    def info(self, text: object, **options: Any) -> None:
        """Log a milestone."""
        self._logger.info(clean_line(text), **options)

    def warning(self, text: object, **options: Any) -> None:
        """Log that something is not as it should be."""
        self._logger.warning(clean_line(text), **options)

    def error(self, text: object, **options: Any) -> None:
        """Log that something failed."""
        self._logger.error(clean_line(text), **options)

    def fatal(self, text: object, **options: Any) -> None:
        """Log why the node ends."""
        self._logger.fatal(clean_line(text), **options)
