"""The exits: logs, tracebacks, lines of a terminal, and texts of messages and answers.

Whatever leaves the process as a line goes through ``clean_line``, whoever wrote its parts: it has
no secrets, no code of a terminal, no line break and no invisible character, and a bounded length.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import traceback
import warnings
from collections.abc import Iterable
from types import TracebackType

from deep_perception.redaction import scrub
from deep_perception.untrusted.text import LINE, printable

# Of a longer text, only so much is searched for secrets; the line shows less of it in any case.
_SEARCHED = 4 * LINE
# Lines of a traceback; of a longer one, the first ones and the last ones are shown.
_FIRST_LINES, _LAST_LINES = 50, 150
_BELOW = "\n| "


def clean_line(text: object, limit: int = LINE) -> str:
    """Return a text that may quote others as one line, without secrets, of bounded length."""
    whole = str(text)
    # Secrets are removed first: one that is cut in two or escaped is harder to find. One that this
    # cut hits is recognised by the ellipsis.
    start = whole if len(whole) <= _SEARCHED else f"{whole[:_SEARCHED]}…"
    clean = scrub(start)
    return printable(clean, limit, length=len(whole) if start is not whole else None)


def clean_lines(text: str) -> str:
    """Return a traceback line by line, each as by ``clean_line``.

    All lines but the first begin with a bar: the message of an exception may hold line breaks, and
    what follows them must not look like another line of the log.
    """
    # Secrets may have line breaks.
    lines = scrub(text[: 100 * _SEARCHED]).rstrip("\n").split("\n")
    left_out = len(lines) - _FIRST_LINES - _LAST_LINES
    if left_out > 0:
        lines = [*lines[:_FIRST_LINES], f"… ({left_out} lines)", *lines[-_LAST_LINES:]]
    return _BELOW.join(printable(line, LINE) for line in lines)


def print_line(text: object, *, is_error: bool = False, end: str = "\n") -> None:
    """Write a text as one clean line, to standard output or to standard error, at once."""
    stream = sys.stderr if is_error else sys.stdout
    stream.write(clean_line(text) + end)
    stream.flush()


def flush() -> None:
    """Write what is buffered, before the process is replaced."""
    sys.stdout.flush()
    sys.stderr.flush()


def print_json(content: object) -> None:
    """Write JSON to standard output, without secrets, in ASCII."""
    sys.stdout.write(scrub(json.dumps(content, indent=2)) + "\n")


class ScrubbingFormatter(logging.Formatter):
    """Formats a record as one clean line, and its traceback as clean lines below it."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line, or the lines of a traceback."""
        record.message = record.getMessage()
        if self.usesTime():
            record.asctime = self.formatTime(record, self.datefmt)
        text = clean_line(self.formatMessage(record))
        trace = self.formatException(record.exc_info) if record.exc_info else record.exc_text
        below = [clean_lines(part) for part in (trace, record.stack_info) if part]
        return _BELOW.join([text, *below])


class _Scrubber(logging.Filter):
    """Removes secrets from a record before any handler, also of the user, gets it."""

    def filter(self, record: logging.LogRecord) -> bool:
        try:
            text = record.getMessage()
        except Exception:  # A wrong format is reported by the handler, with its arguments.
            return True
        clean = clean_line(text)
        if clean != text:
            record.msg, record.args = clean, ()
        return True


_SCRUBBER = _Scrubber()


def guard_loggers(names: Iterable[str]) -> None:
    """Clean what these loggers of libraries log, such as the URL of a request."""
    for name in names:
        logging.getLogger(name).addFilter(_SCRUBBER)  # A filter is added only once.


def start_logging(line: str, level: int = logging.WARNING) -> None:
    """Log to standard error, in clean lines of this format, and print uncaught exceptions so.

    It is for the begin of a program of this package, not for a user's.
    """
    handler = logging.StreamHandler()
    handler.setFormatter(ScrubbingFormatter(line))
    logging.basicConfig(handlers=[handler], level=level)
    scrub_uncaught()


def scrub_uncaught() -> None:
    """Print uncaught exceptions, of any thread, and warnings of Python as clean lines.

    It is for the begin of a program of this package, not for a user's.
    """

    def print_exception(
        kind: type[BaseException], error: BaseException | None, trace: TracebackType | None
    ) -> None:
        lines = traceback.format_exception(kind, error, trace)
        if sys.stderr is not None:
            sys.stderr.write(clean_lines("".join(lines)) + "\n")

    def print_of_thread(arguments: threading.ExceptHookArgs) -> None:
        if arguments.exc_type is not SystemExit:
            print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    def print_unraisable(arguments: sys.UnraisableHookArgs) -> None:
        if issubclass(arguments.exc_type, KeyboardInterrupt):
            return  # A signal that came in a destructor is no fault of it.
        print_exception(arguments.exc_type, arguments.exc_value, arguments.exc_traceback)

    def format_warning(
        message: Warning | str,
        category: type[Warning],
        filename: str,
        lineno: int,
        line: str | None = None,
    ) -> str:
        return clean_line(f"{filename}:{lineno}: {category.__name__}: {message}") + "\n"

    sys.excepthook = print_exception
    threading.excepthook = print_of_thread
    sys.unraisablehook = print_unraisable
    warnings.formatwarning = format_warning
    if logging.lastResort is not None:
        logging.lastResort.setFormatter(ScrubbingFormatter())
