"""Logs and tracebacks without secrets."""

from __future__ import annotations

import logging
import sys
import threading
import traceback
from collections.abc import Iterable
from types import TracebackType

from deep_perception.redaction import scrub


class ScrubbingFormatter(logging.Formatter):
    """Formats a record, its traceback included, without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines of a traceback."""
        return scrub(super().format(record))


class _Scrubber(logging.Filter):
    """Removes secrets from a record before any handler, also of the user, gets it."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # A wrong format is reported by the handler, with its arguments.
            return True
        clean = scrub(text)
        if clean != text:
            record.msg, record.args = clean, ()
        return True


_SCRUBBER = _Scrubber()


def guard_loggers(names: Iterable[str]) -> None:
    """Remove secrets from what these loggers of libraries log, such as the URL of a request."""
    for name in names:
        logging.getLogger(name).addFilter(_SCRUBBER)  # A filter is added only once.


def scrub_uncaught() -> None:
    """Print the traceback of an uncaught exception, of any thread, without secrets.

    It is for the begin of a program of this package, not for a user's.
    """

    def print_exception(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lines = traceback.format_exception(kind, error, trace)
        if sys.stderr is not None:
            sys.stderr.write(scrub("".join(lines)))

    def print_of_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is not SystemExit:
            print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    def print_unraisable(arguments: sys.UnraisableHookArgs) -> None:
        print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    sys.excepthook = print_exception
    threading.excepthook = print_of_thread
    sys.unraisablehook = print_unraisable
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(ScrubbingFormatter())
