"""The DAM server as a child process that cannot outlive its parent."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence

from deep_perception.redaction.output import clean_line

# Seconds from SIGTERM to SIGKILL. A node that is terminated has little more time itself.
GRACE_S = 2.0
_LONGEST_LINE = 1 << 16


class Child:
    """A started server. It is not thread-safe: one thread calls all methods.

    Its standard input is a pipe without data: with ``--with-parent`` the server ends when the pipe
    is closed, which also happens when this process is killed. It runs in a session of its own, so
    that Ctrl-C at a terminal does not end it before its requests are answered.
    """

    def __init__(
        self, command: Sequence[str], variables: Mapping[str, str], logger: logging.Logger
    ) -> None:
        """Start the server. Raises OSError."""
        self.last_line = ""
        self._logger = logger
        self._rest = b""
        self._process = subprocess.Popen(
            command,
            env=variables,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stderr is not None
        self.stderr = self._process.stderr.fileno()
        os.set_blocking(self.stderr, False)

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    def status(self) -> int | None:
        """Return the exit status, None while the server runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> None:
        """Wait until the server ends, at most this long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def drain(self) -> bool:
        """Log the new lines of its standard error; return False once that is closed."""
        while True:
            try:
                block = os.read(self.stderr, 1 << 16)
            except BlockingIOError:
                return True
            *lines, self._rest = (self._rest + block).split(b"\n")
            if not block or len(self._rest) > _LONGEST_LINE:
                lines, self._rest = [*lines, self._rest], b""
            for line in lines:
                text = clean_line(line.decode("utf-8", "replace").rstrip())
                if text:
                    self.last_line = text
                    self._logger.info("DAM server: %s", text)
            if not block:
                return False

    def stop(self) -> None:
        """Terminate the server, kill it if it does not end in time, and wait for its end."""
        process = self._process
        assert process.stdin is not None and process.stderr is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        if process.poll() is None:
            process.terminate()
        ends_at = time.monotonic() + GRACE_S
        while process.poll() is None and time.monotonic() < ends_at:
            self.drain()  # A full pipe would block the server.
            time.sleep(0.02)
        process.kill()  # This does nothing to a process that has ended.
        process.wait()
        self.drain()
        process.stderr.close()
