"""A DAM server of our own: found or started, started again when it dies, ended with us.

The port is the lock: of several nodes on a machine the first starts the server and the others use
it; when it goes, one of them starts the next.
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
from deep_perception.describers.dam.environment import clean_variables
from deep_perception.describers.dam.health import Health, ask
from deep_perception.describers.dam.launch import address_of, server_command, unchecked
from deep_perception.settings import DescriberSettings

COULD_NOT_LOAD = 3  # the server's exit status when it cannot load its model
ASK_S, READY_ASK_S = 0.25, 2.0  # between two looks at the server
MISSING_S = 10.0  # until it is looked again for a missing environment or checkpoint
LONGEST_PAUSE_S = 60.0
STEADY_S = 60.0  # a server that was ready for this long dies a first death again

Kind = Literal["stopped", "unmanaged", "starting", "loading", "ready", "failed"]
_logger = logging.getLogger(__name__)


@dataclass(frozen=True, kw_only=True)
class ServerState:
    """How the server is, and in words what is wrong ("" for nothing)."""

    kind: Kind
    message: str = ""


class DamProcess:
    """Keeps a server at ``describer.dam.url``, where `manage_server` and a loopback address ask
    for that; else it does nothing and is ``unmanaged``. Thread-safe; one thread of its own."""

    def __init__(self, settings: DescriberSettings) -> None:
        """Raises BackendUnavailable for an url that is none."""
        self._settings = settings
        self._address = address_of(settings.dam.url)
        self._control = threading.Lock()  # one start or close at a time
        self._lock = threading.Lock()  # around what state() reads
        self._kind: Kind = "stopped"
        self._message, self._since = "", time.monotonic()
        self._thread: threading.Thread | None = None
        self._closing = threading.Event()
        self._wake = -1
        self._child: Child | None = None
        self._deaths, self._not_before = 0, 0.0

    @property
    def pid(self) -> int | None:
        """The server's process id while we own one."""
        child = self._child
        return child.pid if child else None

    def start(self) -> None:
        """Begin to look after the server; returns at once. Once more: does nothing."""
        with self._control:
            if self._thread:
                return
            if not self._settings.dam.manage_server or not self._address.is_loopback:
                self._set("unmanaged")
                return
            self._closing.clear()
            self._deaths, self._not_before = 0, 0.0
            self._set("starting")
            woken, self._wake = os.pipe()
            self._thread = threading.Thread(
                target=self._run, args=(woken,), name="dam_server", daemon=True
            )
            self._thread.start()

    def close(self) -> None:
        """End the server if it is ours; back when it is gone. Once more: does nothing."""
        with self._control:
            thread, self._thread = self._thread, None
            if thread:
                self._closing.set()
                os.close(self._wake)  # the end of this pipe wakes the thread
                thread.join()
            self._set("stopped")

    def state(self) -> ServerState:
        with self._lock:
            kind, message = self._kind, self._message
            seconds = time.monotonic() - self._since
        if kind in ("starting", "loading"):
            doing = "starting" if kind == "starting" else "loading its model"
            message = f"the DAM server is {doing} ({seconds:.0f} s so far){message}"
        return ServerState(kind=kind, message=message)

    def problem(self) -> str:
        """Why the server cannot be asked now; "" when it can, or when it is not ours to know."""
        state = self.state()
        return "the DAM server is not started" if state.kind == "stopped" else state.message

    # -- the thread ------------------------------------------------------------------------------

    def _run(self, woken: int) -> None:
        try:
            with selectors.DefaultSelector() as selector:
                selector.register(woken, selectors.EVENT_READ)
                while not self._closing.is_set():
                    self._wait(selector, self._guarded_step())
        finally:
            self._let_go()
            os.close(woken)

    def _guarded_step(self) -> float:
        try:
            return self._step()
        except Exception as error:  # whatever it is, the next look may go well
            self._set("failed", f"the DAM server cannot be looked after: {error!r}")
            return MISSING_S

    def _step(self) -> float:
        """Look once and do what is to do; returns the seconds until the next look."""
        health = ask(self._address, self._settings.dam.api_key_env)
        if self._closing.is_set():
            return 0.0
        status = self._child.status() if self._child else None
        if self._child and status is not None:
            return self._died(self._child, status, health)
        if health.kind == "absent" and not self._child:
            left = self._not_before - time.monotonic()
            # Meanwhile somebody else may start one.
            return self._launch() if left <= 0 else min(left, READY_ASK_S)
        self._take(health)
        if self._kind == "ready":
            if time.monotonic() - self._since > STEADY_S:
                self._deaths = 0
            return READY_ASK_S
        return ASK_S

    def _take(self, health: Health) -> None:
        """What the server says of itself is how it is."""
        if health.kind == "silent" and (self._child or self._kind != "starting"):
            return  # busy: as it was
        if health.kind == "silent":
            self._set(
                "failed",
                f"something listens at {self._url} and does not answer GET /health: what is it? "
                "(describer.dam.url can name another port)",
            )
        elif health.kind == "failed":
            self._set("failed", f"the DAM server failed: {health.error or 'it does not say why'}")
        elif health.kind == "other":
            # NVIDIA's own server, perhaps: what it can is seen when it is asked for words.
            self._set("ready")
        elif health.kind in ("absent", "stopping"):
            self._set("starting")  # the next one, as soon as the port is free
        elif health.kind == "loading":
            self._set("loading")
        else:
            self._set("ready")

    def _launch(self) -> float:
        try:
            command = [*server_command(self._settings), "--with-parent"]
            child = Child(command, clean_variables(), _logger)
        except BackendUnavailable as error:
            return self._try_again(str(error), MISSING_S)
        except OSError as error:
            return self._try_again(f"the DAM server cannot be started: {error}", MISSING_S)
        self._child = child
        if not self._deaths and (warning := unchecked(self._settings)):
            _logger.warning("%s", warning)
        _logger.info("started the DAM server at %s (process %d)", self._url, child.pid)
        self._set("starting")
        return ASK_S

    def _died(self, child: Child, status: int, health: Health) -> float:
        self._let_go()
        if health.kind != "absent":
            # Another process had the port first, and its server is as good as ours.
            _logger.info("using the DAM server that is at %s already", self._url)
            self._take(health)
            return ASK_S
        pause = min(2.0**self._deaths, LONGEST_PAUSE_S)
        if status == COULD_NOT_LOAD:
            pause = LONGEST_PAUSE_S
        self._deaths += 1
        how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
        # Its last line has nothing to do with a signal that somebody else sent.
        said = f": {child.last_line}" if child.last_line and status >= 0 else ""
        if status == -signal.SIGKILL:
            said = " (out of memory?)"
        again = f"it is started again after {pause:.0f} s"
        return self._try_again(f"the DAM server {how}{said}; {again}", pause)

    def _try_again(self, message: str, pause: float) -> float:
        self._set("failed", message)
        self._not_before = time.monotonic() + pause
        return min(pause, READY_ASK_S)

    def _let_go(self) -> None:
        child, self._child = self._child, None
        if child:
            child.stop()

    def _wait(self, selector: selectors.BaseSelector, seconds: float) -> None:
        """Sleep; what the server says is logged meanwhile. Ends early for close() and its death."""
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
        return self._settings.dam.url

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
