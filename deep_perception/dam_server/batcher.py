"""The queue before the model, and the thread that is the only one to use the model.

Regions of equal query and sampling are described together: equal prompts need no padding, which is
what makes a batch's words the same as each region's alone, but for the rounding of half precision.
"""

from __future__ import annotations

import logging
import math
import threading
import time
from collections.abc import Sequence
from concurrent.futures import Future, InvalidStateError
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from deep_perception.dam_server.errors import DeviceLost, OutOfMemory, RequestError
from deep_perception.dam_server.options import Sampling

if TYPE_CHECKING:
    from deep_perception.dam_server.model import Answer, Dam

# How long the oldest region waits for others whose pictures are being received and decoded.
_GATHER_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class Job:
    query: str
    sampling: Sampling
    picture: Any
    answer: Future[Answer] = field(default_factory=Future)
    abandoned: bool = False
    since: float = field(default_factory=time.monotonic)

    def goes_with(self, other: Job) -> bool:
        # What is drawn with a seed would depend on the rest of the batch, and so would beams: they
        # are searched for longer, and may get better, while another region's can.
        apart = self.sampling.seed is not None or self.sampling.num_beams > 1
        if apart and self is not other:
            return False
        return (self.query, self.sampling) == (other.query, other.sampling)


class Batcher:
    def __init__(self, max_batch: int, max_queue: int) -> None:
        self._max_batch = max_batch
        self._max_queue = max_queue
        self._changed = threading.Condition()
        self._queue: list[Job] = []
        self._running: list[Job] = []
        self._arriving = 0
        self._closed = False
        self._last_batch_s = 1.0
        self.described = 0

    @property
    def queued(self) -> int:
        return len(self._queue)

    @property
    def describing(self) -> int:
        """Regions at the model that somebody waits for."""
        return sum(not job.abandoned for job in self._running)

    def admit(self) -> None:
        """Keep a place for a region whose picture is on its way. Raises RequestError."""
        with self._changed:
            self._refuse_if_closed()
            waiting = len(self._queue) + self._arriving
            if waiting >= self._max_queue:
                raise RequestError(
                    429,
                    "queue_full",
                    f"{waiting} regions wait already, as many as --max-queue allows; try later",
                    retry_after_s=min(60, math.ceil(self._last_batch_s)),
                )
            self._arriving += 1

    def leave(self) -> None:
        """Give the kept place back: the region was queued, or comes to nothing."""
        with self._changed:
            self._arriving -= 1
            self._changed.notify_all()

    def put(self, job: Job) -> None:
        with self._changed:
            self._refuse_if_closed()
            self._queue.append(job)
            self._changed.notify_all()

    def abandon(self, job: Job) -> None:
        """Nobody waits for this region any more."""
        with self._changed:
            job.abandoned = True
            if job in self._queue:
                self._queue.remove(job)
                self._changed.notify_all()

    def close(self) -> None:
        """Take nothing more, refuse what waits, and let `run` end after what it is at."""
        with self._changed:
            self._closed = True
            refused, self._queue = self._queue, []
            self._changed.notify_all()
        for job in refused:
            _finish(job, error=_stopping())

    def give_up(self) -> None:
        """Refuse what is being described, too."""
        for job in list(self._running):
            job.abandoned = True
            _finish(job, error=_stopping())

    def run(self, model: Dam) -> None:
        """Describe until closed. Raises DeviceLost when only a new process can go on."""
        while jobs := self._next():
            start = time.monotonic()
            try:
                self._describe(model, jobs)
            finally:
                self._last_batch_s = time.monotonic() - start
                self._running = []

    def _next(self) -> list[Job]:
        with self._changed:
            while not self._closed:
                jobs = self._batch()
                if not jobs:
                    self._changed.wait()
                    continue
                patience = jobs[0].since + _GATHER_S - time.monotonic()
                if len(jobs) < self._max_batch and self._arriving and patience > 0:
                    self._changed.wait(patience)
                    continue
                self._running = jobs
                self._queue = [job for job in self._queue if job not in jobs]
                return jobs
        return []

    def _batch(self) -> list[Job]:
        """The oldest job and those that go with it."""
        if not self._queue:
            return []
        first = self._queue[0]
        return [job for job in self._queue if job.goes_with(first)][: self._max_batch]

    def _describe(self, model: Dam, jobs: list[Job]) -> None:
        groups = [jobs]
        while groups:
            group = [job for job in groups.pop(0) if not job.abandoned]
            if not group:
                continue
            failure = self._generate(model, group)
            if failure is None:
                continue
            _log.warning("describing %d together failed: %s", len(group), failure)
            if isinstance(failure, DeviceLost):
                for job in jobs:
                    _finish(job, error=RequestError(503, "device_lost", str(failure)))
                raise failure
            if len(group) == 1:
                _finish(group[0], error=_refusal(failure))
            elif isinstance(failure, OutOfMemory):
                half = len(group) // 2
                groups[:0] = [group[:half], group[half:]]
            else:
                groups[:0] = [[job] for job in group]

    def _generate(self, model: Dam, group: Sequence[Job]) -> Exception | None:
        """Answer the group, or return what went wrong (without the memory it holds on to)."""
        first = group[0]
        try:
            answers = model.generate(
                first.query,
                [job.picture for job in group],
                first.sampling,
                lambda: [job.abandoned for job in group],
            )
        except Exception as error:
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        # Counted first: a client that has its answer finds it in /health.
        self.described += len(group)
        for job, answer in zip(group, answers, strict=True):
            _finish(job, answer=answer)
        return None

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise _stopping()


def _finish(job: Job, answer: Answer | None = None, error: RequestError | None = None) -> None:
    try:
        if answer is not None:
            job.answer.set_result(answer)
        else:
            job.answer.set_exception(error)
    except InvalidStateError:
        pass  # its client has left, or it was refused when the server stopped


def _refusal(failure: Exception) -> RequestError:
    if isinstance(failure, OutOfMemory):
        return RequestError(
            503, "out_of_memory", f"this region does not fit into memory: {failure}", 30
        )
    what = " ".join(str(failure).split())[:300]
    return RequestError(
        500, "description_failed", f"the model failed: {type(failure).__name__}: {what}"
    )


def _stopping() -> RequestError:
    return RequestError(503, "stopping", "the server is stopping", retry_after_s=5)
