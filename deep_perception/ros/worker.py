"""The thread that analyses: the newest frame of the camera whose turn it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import rclpy

from deep_perception.analyzer import Analyzer, Cancelled
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.ros.image_input import ReceivedFrame
from deep_perception.ros.latest import Latest
from deep_perception.settings import Settings

# How soon regions that still lack their best words are looked at between keyframes.
IDLE_S = 1.0
# A managed node is expected to change its state within 2 s, whatever it was doing.
STOP_WITHIN_S = 1.5


class Worker:
    """Analyses frames of any number of cameras with one set of models until it is stopped."""

    def __init__(
        self,
        *,
        views: Mapping[str, CameraPipeline],
        frames: Latest[ReceivedFrame],
        analyzer: Analyzer,
        settings: Callable[[], Settings],
        after: Worker | None,
    ) -> None:
        """``after``: a stopped worker whose last frame may still be in the works."""
        self._views = views
        self._frames = frames
        self._analyzer = analyzer
        self._settings = settings
        self._after = after
        self._stopping = threading.Event()
        self._busy_since_s: float | None = None
        self._worked_s = time.monotonic()
        self._lock = threading.Lock()
        self._last_acts: list[Callable[[], None]] = []
        self._over = False
        self._thread = threading.Thread(target=self._run, name="analyzer", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """How long the frame in hand, or the one that is waited for, has taken so far, else 0."""
        since, after = self._busy_since_s, self._after
        if since is None and after is not None:
            return after.busy_s
        return time.monotonic() - since if since is not None else 0.0

    def stop(self) -> None:
        """Give up the frame in hand, or leave a backend that hangs to itself."""
        self._stopping.set()
        self._frames.close()
        self._thread.join(timeout=STOP_WITHIN_S)

    def finally_do(self, act: Callable[[], None]) -> None:
        """Do something once no frame is in the works any more: now, or in the worker's thread."""
        with self._lock:
            if not self._over:
                self._last_acts.append(act)
                return
        self._do(act)

    def _do(self, act: Callable[[], None]) -> None:
        # Stopped before its turn came: the frame of the one before is still in the works.
        after = self._after
        if after is not None:
            after.finally_do(act)
        else:
            act()

    def wait(self, timeout_s: float) -> None:
        """Wait for the end of a worker that was stopped."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._after is not None and not self._after.over:
                if self._stopping.wait(0.05):
                    return
            self._after = None
            self._work()
        except Cancelled:
            pass
        finally:
            with self._lock:
                self._over = True
            for act in self._last_acts:
                self._do(act)

    @property
    def over(self) -> bool:
        """Whether the last frame is done with, also that of the worker before."""
        after = self._after
        return self._over and (after is None or after.over)

    def _cancelled(self) -> bool:
        # A signal ends the context, and every publisher with it, before anybody can call stop.
        return self._stopping.is_set() or not rclpy.ok()

    def _work(self) -> None:
        looked_s = time.monotonic()
        while not self._frames.closed:
            taken = self._frames.take(IDLE_S)
            settings = self._analyzer.settings = self._settings()
            self._busy_since_s = time.monotonic()
            try:
                if taken is not None:
                    sender, frame = taken
                    if self._views[sender].process(
                        frame, self._analyzer, settings, self._cancelled
                    ):
                        self._worked_s = looked_s = time.monotonic()
                # Also while frames come that are no keyframes: of a still view all of them.
                if time.monotonic() - looked_s >= IDLE_S:
                    self._between_keyframes(settings)
                    looked_s = time.monotonic()
            finally:
                self._busy_since_s = None

    def _between_keyframes(self, settings: Settings) -> None:
        for view in self._views.values():
            view.describe_again(
                self._analyzer,
                settings,
                self._cancelled,
                lambda: any(each.has_newer(settings) for each in self._views.values()),
            )
        if self._analyzer.models.loading:
            # Else a model that takes longer to load than that would never be there.
            self._worked_s = time.monotonic()
        unload_s = settings.models.idle_unload_s
        if 0 < unload_s < time.monotonic() - self._worked_s:
            self._analyzer.models.unload()
