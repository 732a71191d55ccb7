"""The questions of live cameras: which regions the describer is asked about, while images come.

Only regions of the newest view of a camera are asked about, the largest first. A question that is
on its way when the next view comes stays, as long as that view shows the same region. What was
asked about a view that is gone altogether is cancelled.
"""

from __future__ import annotations

import itertools
import logging
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from deep_perception.describers import Describer, describes_concurrently
from deep_perception.images import BgrImage
from deep_perception.redaction.output import clean_line
from deep_perception.regions import Description, Region

log = logging.getLogger(__name__)

# A describer that describes one image at a time changes to another camera's after this long.
TURN_S = 2.0


@dataclass(eq=False, kw_only=True)
class View:
    """An image of a camera (HxWx3 uint8 BGR), its stamp, and what to ask about it.

    ``waiting`` are the regions to ask about, in the order of the questions. ``on_answer`` gets the
    track id, ``stamp_ns`` and the description, and ``on_end`` is called when the describer has
    ended, both in a thread of the queue.
    """

    camera: str
    image: BgrImage
    stamp_ns: int
    describer: Describer
    on_answer: Callable[[str, int, Description], None]
    on_end: Callable[[], None]
    waiting: list[Region] = field(default_factory=list)


class DescriptionQueue:
    """Asks the describer about the newest view of each camera. All methods are thread-safe.

    Each call of ``Describer.describe`` has a thread of its own. There is one at a time, unless the
    describer supports several (``SupportsConcurrentImages``).
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._views: dict[str, View] = {}
        self._runs: list[_Run] = []
        self._turns: dict[str, int] = {}
        self._turn = itertools.count(1)
        self._is_closed = False

    def show(self, view: View, is_valid: Callable[[str, int], bool]) -> None:
        """Replace the view of a camera.

        ``is_valid`` gets the track id and the stamp of a question that is on its way, and returns
        whether the new view shows the region that the question is about. If no question of an
        earlier image is valid any more, the describer is told to stop describing that image.
        """
        with self._changed:
            if self._is_closed:
                return
            self._views[view.camera] = view
            for run in self._of_camera(view.camera):
                if run.view.image is not view.image and not any(
                    is_valid(track_id, run.view.stamp_ns) for track_id in run.unanswered
                ):
                    run.is_stopped = True
            self._start_runs()
            self._changed.notify_all()

    def forget(self, camera: str) -> None:
        """Drop all questions of a camera."""
        with self._changed:
            self._views.pop(camera, None)
            for run in self._of_camera(camera):
                run.is_stopped = True
            self._changed.notify_all()

    def asked(self, camera: str) -> set[tuple[str, int]]:
        """The track ids and stamps of the questions of a camera that are on their way."""
        with self._changed:
            return {
                (track_id, run.view.stamp_ns)
                for run in self._of_camera(camera)
                if not run.is_stopped
                for track_id in run.unanswered
            }

    def is_busy(self, camera: str | None = None) -> bool:
        """Whether the describer is at work for a camera, or for any camera, or will be."""
        with self._changed:
            return self._is_busy(camera)

    def unanswered_s(self) -> float:
        """How long the describer has answered none of the questions on their way, 0 without one."""
        with self._changed:
            since_s = [run.last_answer_s for run in self._runs if run.unanswered]
        return time.monotonic() - min(since_s) if since_s else 0.0

    def wait(self, camera: str, is_enough: Callable[[], bool], check_every_s: float) -> None:
        """Wait until the camera has no question, or until ``is_enough``."""
        with self._changed:
            while self._is_busy(camera) and not is_enough():
                self._changed.wait(check_every_s)

    def close(self, timeout_s: float) -> None:
        """Drop all questions, and wait for the describer to stop.

        After the timeout it is abandoned; its answers are ignored.
        """
        with self._changed:
            self._is_closed = True
            self._views.clear()
            runs = list(self._runs)
            for run in runs:
                run.is_stopped = True
            self._changed.notify_all()
        ends_s = time.monotonic() + timeout_s
        for run in runs:
            run.thread.join(max(0.0, ends_s - time.monotonic()))

    # -- called by the runs ---------------------------------------------------------------------

    def take(self, run: _Run) -> Region | None:
        """Return the next region that a run asks about, None if it gets no other one."""
        with self._changed:
            view = self._views.get(run.view.camera)
            if run.is_stopped or view is not run.view or not view.waiting or self._must_end(run):
                run.is_exhausted = True
                return None
            region = view.waiting.pop(0)
            run.taken[region.track_id] = region
            return region

    def answer(self, run: _Run, region: Region, description: Description) -> None:
        """Pass on the answer to a question of a run, unless it was dropped or answered before."""
        with self._changed:
            if run.is_stopped or region.track_id not in run.unanswered:
                return
            run.answered.add(region.track_id)
            run.last_answer_s = time.monotonic()
        run.view.on_answer(region.track_id, run.view.stamp_ns, description)
        with self._changed:
            self._changed.notify_all()

    def end(self, run: _Run, error: str) -> None:
        """Let the next run start. Questions without an answer have failed with the error."""
        failed = list(run.unanswered)
        with self._changed:
            view = self._views.get(run.view.camera)
            # A describer that ends before it has taken all regions describes none of them.
            if not run.is_stopped and not run.is_exhausted and view is run.view:
                run.taken |= {region.track_id: region for region in view.waiting}
                failed = list(run.unanswered)
                view.waiting.clear()
        describer = run.view.describer
        try:
            for track_id in failed:
                self.answer(
                    run,
                    run.taken[track_id],
                    Description(
                        status="failed",
                        describer=describer.name,
                        model=describer.model,
                        error=error,
                    ),
                )
        finally:
            # Whatever the receiver of the answers raises, the next run must start.
            with self._changed:
                self._runs.remove(run)
                self._start_runs()
        run.view.on_end()
        with self._changed:
            self._changed.notify_all()

    # -- with the lock held ---------------------------------------------------------------------

    def _is_busy(self, camera: str | None) -> bool:
        return any(
            view.waiting for view in self._views.values() if camera in (None, view.camera)
        ) or any(not run.is_stopped for run in self._runs if camera in (None, run.view.camera))

    def _of_camera(self, camera: str) -> list[_Run]:
        return [run for run in self._runs if run.view.camera == camera]

    def _must_end(self, run: _Run) -> bool:
        if not run.taken or describes_concurrently(run.view.describer):
            return False
        others = [view for view in self._views.values() if view is not run.view and view.waiting]
        return bool(others) and time.monotonic() - run.started_s > TURN_S

    def _start_runs(self) -> None:
        """Start a run for each view with questions that the describer can describe now."""
        waiting = [view for view in self._views.values() if view.waiting]
        waiting.sort(key=lambda view: self._turns.get(view.camera, 0))
        for view in waiting:
            if any(run.view is view and not run.is_exhausted for run in self._runs):
                continue
            if self._runs and not describes_concurrently(view.describer):
                return
            self._turns[view.camera] = next(self._turn)
            run = _Run(self, view)
            self._runs.append(run)
            run.thread.start()


class _Run:
    """One call of ``Describer.describe``: an iterator over the regions that it asks about."""

    def __init__(self, questions: DescriptionQueue, view: View) -> None:
        self.view = view
        self.taken: dict[str, Region] = {}
        self.answered: set[str] = set()
        self.is_stopped = self.is_exhausted = False
        self.started_s = self.last_answer_s = time.monotonic()
        self.thread = threading.Thread(target=self._describe, name="describer", daemon=True)
        self._questions = questions

    @property
    def unanswered(self) -> set[str]:
        """The track ids of the questions that are on their way."""
        return self.taken.keys() - self.answered

    def __iter__(self) -> Iterator[Region]:
        return self

    def __next__(self) -> Region:
        region = self._questions.take(self)
        if region is None:
            raise StopIteration
        return region

    def _describe(self) -> None:
        error = "the describer returned no description of this region"
        results = None
        try:
            results = iter(self.view.describer.describe(self.view.image, self))
            for result in results:
                if self.is_stopped:
                    break
                if result is not None:
                    self._questions.answer(self, *result)
        except BaseException as failure:  # one backend must not cost the node
            # Each region carries the error, and so do the diagnostics; a log line for every
            # keyframe would flood the log.
            log.debug("describer %s failed", self.view.describer.name, exc_info=True)
            error = clean_line(f"{type(failure).__name__}: {failure}")
        finally:
            self._close(results)
            self._questions.end(self, error)

    def _close(self, results: object) -> None:
        # Requests may be under way, so the generator is not left to the garbage collector.
        close = getattr(results, "close", None)
        if close is None:
            return
        try:
            close()
        except Exception:
            log.debug("describer %s failed to stop", self.view.describer.name, exc_info=True)
