"""The thread that analyses: it takes the newest frame of the camera whose turn it is."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import rclpy

from deep_perception.analyzer import Analyzer, Cancelled
from deep_perception.description.queue import DescriptionQueue
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.ros.latest import Latest
from deep_perception.ros.received_frame import ReceivedFrame
from deep_perception.settings import Settings

# Seconds between two looks at what can be described between keyframes.
IDLE_S = 1.0
# A managed node is expected to change its state within 2 s, whatever it was doing.
STOP_WITHIN_S = 1.5


class Worker:
    """Analyses frames of any number of cameras with one set of models until it is stopped."""

    def __init__(
        self,
        *,
        pipelines: Mapping[str, CameraPipeline],
        frames: Latest[ReceivedFrame],
        analyzer: Analyzer,
        settings: Callable[[], Settings],
        previous: Worker | None,
    ) -> None:
        """Start the thread.

        ``settings`` returns those of the next frame. ``previous`` is a stopped worker that may
        still be analysing its last frame; this worker starts after it.
        """
        self._pipelines = pipelines
        self._frames = frames
        self._analyzer = analyzer
        self._settings = settings
        # Only what still works is kept, or a peer could make a chain of any length.
        self._previous = previous.unfinished if previous is not None else None
        self._questions = DescriptionQueue()
        self._stopping = threading.Event()
        self._busy_since_s: float | None = None
        self._last_work_s = time.monotonic()
        self._lock = threading.Lock()
        self._actions_at_end: list[Callable[[], None]] = []
        self._has_ended = False
        self._thread = threading.Thread(target=self._run, name="analyzer", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """Seconds since the analysis of the current frame began, 0 if there is none."""
        since_s, previous = self._busy_since_s, self._previous
        if since_s is None and previous is not None:
            return previous.busy_s
        return time.monotonic() - since_s if since_s is not None else 0.0

    def stop(self) -> None:
        """Cancel the current frame; a backend that does not return in time is left behind."""
        self._stopping.set()
        self._frames.close()
        self._thread.join(timeout=STOP_WITHIN_S)

    def call_at_end(self, action: Callable[[], None]) -> None:
        """Call a function once no frame is being analysed: now, or in the worker's thread."""
        with self._lock:
            if not self._has_ended:
                self._actions_at_end.append(action)
                return
        self._call(action)

    def _call(self, action: Callable[[], None]) -> None:
        # A worker that was stopped before it started leaves the previous worker's frame running.
        previous = self._previous
        if previous is not None:
            previous.call_at_end(action)
        else:
            action()

    def wait(self, timeout_s: float) -> None:
        """Wait until a worker that was stopped has ended."""
        self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            while self._previous is not None and not self._previous.has_ended:
                if self._stopping.wait(0.05):
                    return
            self._previous = None
            for pipeline in self._pipelines.values():
                pipeline.live.connect(self._questions)
            self._work()
        except Cancelled:
            pass
        finally:
            self._questions.close(STOP_WITHIN_S)
            with self._lock:
                self._has_ended = True
            for action in self._actions_at_end:
                self._call(action)

    @property
    def has_ended(self) -> bool:
        """Whether neither this worker nor the previous one analyses a frame any more."""
        previous = self._previous
        return self._has_ended and (previous is None or previous.has_ended)

    @property
    def unfinished(self) -> Worker | None:
        """This worker, or if it has ended, the previous one that it did not wait for to the end."""
        previous = self._previous
        if not self._has_ended:
            return self
        return previous.unfinished if previous is not None else None

    def _is_cancelled(self) -> bool:
        # A signal ends the context, and with it every publisher, before anybody can call stop.
        return self._stopping.is_set() or not rclpy.ok()

    def _work(self) -> None:
        last_idle_s = time.monotonic()
        while not self._frames.closed:
            taken = self._frames.take(IDLE_S)
            settings = self._settings()
            self._busy_since_s = time.monotonic()
            try:
                if taken is not None:
                    camera, frame = taken
                    if self._pipelines[camera].process(
                        frame, self._analyzer, settings, self._is_cancelled
                    ):
                        self._last_work_s = last_idle_s = time.monotonic()
                # In a still view frames come, and none of them is a keyframe.
                if time.monotonic() - last_idle_s >= IDLE_S:
                    self._work_between_keyframes(settings)
                    last_idle_s = time.monotonic()
            finally:
                self._busy_since_s = None

    def _work_between_keyframes(self, settings: Settings) -> None:
        for pipeline in self._pipelines.values():
            pipeline.update(self._analyzer, settings)
        if self._analyzer.models.loading or self._questions.is_busy():
            # Otherwise a model that takes longer to load than idle_unload_s would never be ready.
            self._last_work_s = time.monotonic()
        unload_s = settings.models.idle_unload_s
        if 0 < unload_s < time.monotonic() - self._last_work_s:
            self._analyzer.models.unload()
