"""What the core logs, as ROS log messages."""

from __future__ import annotations

import logging
from typing import Any


class RosLog(logging.Handler):
    """Hands records of Python's logging to an rclpy logger."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """One ROS log message; rclpy wants a call site of its own for every severity."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
