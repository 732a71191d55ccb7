"""A managed DAM server: found or started, restarted when it ends, and ended with this process.

The port serves as the lock: the first of several nodes on a machine starts the server, and the
others use it. When it ends, one of them starts the next one.
"""

from __future__ import annotations

import logging
import os
import selectors
import signal
import threading
import time
from dataclasses import dataclass
from typing import Literal

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.dam.child import Child
from deep_perception.describers.dam.environment import server_variables
from deep_perception.describers.dam.health import Health, get_health
from deep_perception.describers.dam.launch import address_of, server_command, unchecked_warning
from deep_perception.redaction.addresses import shown
from deep_perception.settings import DescriberSettings

COULD_NOT_LOAD = 3  # exit status of a server that cannot load its model
CHECK_S, READY_CHECK_S = 0.25, 2.0  # between two requests for the server's state
MISSING_CHECK_S = 10.0  # between two checks for a missing environment or checkpoint
LONGEST_PAUSE_S = 60.0  # between the end of a server and its restart
STEADY_S = 60.0  # a server that was ready for this long restarts with the first pause again

Kind = Literal["stopped", "unmanaged", "starting", "loading", "ready", "failed"]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """The state of the server, and what prevents its use ("" if nothing does)."""

    kind: Kind
    message: str = ""


class DamProcess:
    """Keeps a server running at ``describer.dam.url``.

    Without ``describer.dam.manage_server``, or with an address that is not loopback, it does
    nothing and its state is ``unmanaged``. It is thread-safe and has one thread of its own.
    """

    def __init__(self, settings: DescriberSettings) -> None:
        """Raises BackendUnavailable for a url that names no host and port."""
        self._settings = settings
        self._address = address_of(settings.dam.url)
        self._control = threading.Lock()  # Only one start or close runs at a time.
        self._lock = threading.Lock()  # Guards what state() reads.
        self._kind: Kind = "stopped"
        self._message, self._since = "", time.monotonic()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._wake = -1
        self._child: Child | None = None
        self._failed_starts, self._not_before = 0, 0.0

    @property
    def pid(self) -> int | None:
        """The process id of the server if it was started here and runs."""
        child = self._child
        return child.pid if child else None

    def start(self) -> None:
        """Start to manage the server, and return at once. A second call does nothing."""
        with self._control:
            if self._thread:
                return
            if not self._settings.dam.manage_server or not self._address.is_loopback:
                self._set("unmanaged")
                return
            self._closing.clear()
            self._failed_starts, self._not_before = 0, 0.0
            self._set("starting")
            woken, self._wake = os.pipe()
            self._thread = threading.Thread(
                target=self._run, args=(woken,), name="dam_server", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End the server if it was started here, and wait for that. A second call does nothing."""
        with self._control:
            thread, self._thread = self._thread, None
            if thread:
                self._closing.set()
                os.close(self._wake)  # The thread wakes up when this pipe is closed.
                thread.join()
            self._set("stopped")

    def state(self) -> ServerState:
        """Return the current state."""
        with self._lock:
            kind, message = self._kind, self._message
            seconds = time.monotonic() - self._since
        if kind in ("starting", "loading"):
            doing = "starting" if kind == "starting" else "loading its model"
            message = f"the DAM server is {doing} ({seconds:.0f} s so far){message}"
        return ServerState(kind=kind, message=message)

    def problem(self) -> str:
        """Return why the server cannot be used now, "" if it can or if it is not managed."""
        state = self.state()
        return "the DAM server is not started" if state.kind == "stopped" else state.message

    # -- the thread ------------------------------------------------------------------------------

    def _run(self, woken: int) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(woken, selectors.EVENT_READ)
                while not self._closing.is_set():
                    self._wait(selector, self._step_or_fail())
        finally:
            self._stop_child()
            os.close(woken)

    def _step_or_fail(self) -> float:
        try:
            return self._step()
        except Exception as error:  # The next step may succeed, whatever the error is.
            self._set("failed", f"the DAM server cannot be managed: {error!r}")
            return MISSING_CHECK_S

    def _step(self) -> float:
        """Check the server once and act on its state; return the seconds until the next step."""
        health = get_health(self._address, self._settings.dam.api_key_env)
        if self._closing.is_set():
            return 0.0
        status = self._child.status() if self._child else None
        if self._child and status is not None:
            return self._handle_exit(self._child, status, health)
        if health.kind == "absent" and not self._child:
            left = self._not_before - time.monotonic()
            # During the pause another process may start a server.
            return self._launch() if left <= 0 else min(left, READY_CHECK_S)
        self._adopt(health)
        if self._kind == "ready":
            if time.monotonic() - self._since > STEADY_S:
                self._failed_starts = 0
            return READY_CHECK_S
        return CHECK_S

    def _adopt(self, health: Health) -> None:
        """Take over the state that the server reports."""
        if health.kind == "silent" and (self._child or self._kind != "starting"):
            return  # A busy server keeps its state.
        if health.kind == "silent":
            self._set(
                "failed",
                f"another program listens at {self._url} and does not answer GET /health: end it, "
                "or set describer.dam.url to another port",
            )
        elif health.kind == "foreign":
            self._set(
                "failed",
                f"a program of another user listens at {self._url}, and no image is sent to it: "
                "end it, or set describer.dam.url to another port; if you trust it, set "
                "describer.dam.manage_server to false",
            )
        elif health.kind == "failed":
            self._set("failed", f"the DAM server failed: {health.error or 'it gives no reason'}")
        elif health.kind == "other":
            # This may be NVIDIA's server. The first request for a region shows whether it is.
            self._set("ready")
        elif health.kind in ("absent", "stopping"):
            self._set("starting")  # The next server starts when the port is free.
        elif health.kind == "loading":
            self._set("loading")
        else:
            self._set("ready")

    def _launch(self) -> float:
        try:
            command = [*server_command(self._settings), "--with-parent"]
            child = Child(command, server_variables(self._settings.dam.api_key_env), _logger)
        except BackendUnavailable as error:
            return self._retry_later(str(error), MISSING_CHECK_S)
        except OSError as error:
            return self._retry_later(f"the DAM server cannot be started: {error}", MISSING_CHECK_S)
        self._child = child
        if not self._failed_starts and (warning := unchecked_warning(self._settings)):
            _logger.warning("%s", warning)
        _logger.info("started the DAM server at %s (process %d)", self._url, child.pid)
        self._set("starting")
        return CHECK_S

    def _handle_exit(self, child: Child, status: int, health: Health) -> float:
        self._stop_child()
        if health.kind != "absent":
            # The server of another process got the port first, and is used.
            _logger.info("using the DAM server that is at %s already", self._url)
            self._adopt(health)
            return CHECK_S
        pause = min(2.0**self._failed_starts, LONGEST_PAUSE_S)
        if status == COULD_NOT_LOAD:
            pause = LONGEST_PAUSE_S
        self._failed_starts += 1
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        # The last line of its log is no reason for a signal, which another process sent.
        reason = f": {child.last_line}" if child.last_line and status >= 0 else ""
        if status == -signal.SIGKILL:
            reason = " (out of memory?)"
        restart = f"it is started again after {pause:.0f} s"
        return self._retry_later(f"the DAM server {how}{reason}; {restart}", pause)

    def _retry_later(self, message: str, pause: float) -> float:
        self._set("failed", message)
        self._not_before = time.monotonic() + pause
        return min(pause, READY_CHECK_S)

    def _stop_child(self) -> None:
        child, self._child = self._child, None
        if child:
            child.stop()

    def _wait(self, selector: selectors.BaseSelector, seconds: float) -> None:
        """Sleep and log the server's output meanwhile. Return early if it ends, or for close()."""
        ends_at = time.monotonic() + seconds
        child = self._child
        if child:
            selector.register(child.stderr, selectors.EVENT_READ)
        try:
            while not self._closing.is_set() and (left := ends_at - time.monotonic()) > 0:
                selector.select(left)
                if child and not child.drain():
                    child.wait(left)
                    return
        finally:
            if child:
                selector.unregister(child.stderr)

    @property
    def _url(self) -> str:
        return shown(self._settings.dam.url)

    def _set(self, kind: Kind, message: str = "") -> None:
        with self._lock:
            changed = kind != self._kind or message != self._message
            if kind != self._kind:
                self._since = time.monotonic()
            self._kind, self._message = kind, message
        if changed and kind == "failed":
            _logger.warning("%s", message)
        elif changed:
            _logger.info("the DAM server at %s: %s", self._url, kind)
