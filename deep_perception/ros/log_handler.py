"""Python's logging, as ROS log messages."""

from __future__ import annotations

import logging
from typing import Any

from deep_perception.redaction.output import ScrubbingFormatter


class RosLogHandler(logging.Handler):
    """Pass the records of Python's logging to an rclpy logger."""

    def __init__(self, logger: Any) -> None:
        super().__init__()
        self.setFormatter(ScrubbingFormatter())
        self._logger = logger

    def emit(self, record: logging.LogRecord) -> None:
        """Log one message; rclpy requires a call site of its own for every severity."""
        text = self.format(record)
        if record.levelno >= logging.ERROR:
            self._logger.error(text)
        elif record.levelno >= logging.WARNING:
            self._logger.warning(text)
        elif record.levelno >= logging.INFO:
            self._logger.info(text)
        else:
            self._logger.debug(text)
