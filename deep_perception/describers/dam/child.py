"""The DAM server as a child process that cannot outlive us."""

from __future__ import annotations

import contextlib
import logging
import os
import subprocess
import time
from collections.abc import Mapping, Sequence

GRACE_S = 2.0  # from SIGTERM to SIGKILL: the node itself has little more to end in
_LONGEST_LINE = 1 << 16


class Child:
    """A started server. Not thread-safe: one thread drains, looks and stops.

    Its standard input is a pipe that nobody writes to: with `--with-parent` the server ends when
    the pipe does, so also when this process is killed. In a session of its own, because Ctrl-C at
    a terminal would else end it before the regions on their way have their words.
    """

    def __init__(
        self, command: Sequence[str], variables: Mapping[str, str], logger: logging.Logger
    ) -> None:
        """Start it. Raises OSError."""
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
        return self._process.pid

    def status(self) -> int | None:
        """The exit status, None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float) -> None:
        """Until it ends, at most this long."""
        with contextlib.suppress(subprocess.TimeoutExpired):
            self._process.wait(seconds)

    def drain(self) -> bool:
        """Log what it said since the last call; False once it can say no more."""
        while True:
            try:
                block = os.read(self.stderr, 1 << 16)
            except BlockingIOError:
                return True
            *lines, self._rest = (self._rest + block).split(b"\n")
            if not block or len(self._rest) > _LONGEST_LINE:
                lines, self._rest = [*lines, self._rest], b""
            for line in lines:
                if text := line.decode("utf-8", "replace").rstrip():
                    self.last_line = text
                    self._logger.info("DAM server: %s", text)
            if not block:
                return False

    def stop(self) -> None:
        """End it, gently and then not; back when it is gone."""
        process = self._process
        assert process.stdin is not None and process.stderr is not None
        with contextlib.suppress(OSError):
            process.stdin.close()
        if process.poll() is None:
            process.terminate()
        ends_at = time.monotonic() + GRACE_S
        while process.poll() is None and time.monotonic() < ends_at:
            self.drain()  # a full pipe would hold it up
            time.sleep(0.02)
        process.kill()  # does nothing to one that has ended
        process.wait()
        self.drain()
        process.stderr.close()
