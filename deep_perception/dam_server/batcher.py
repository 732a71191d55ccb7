"""The queue of the model, and the loop of the only thread that uses the model.

Regions with equal query and sampling are described in one batch. Equal prompts need no padding, so
that a description is the same in a batch and alone, but for the rounding of half precision.
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

from deep_perception.dam_server.errors import (
    DeviceLost,
    OutOfMemory,
    RequestError,
    without_folders,
)
from deep_perception.dam_server.options import Sampling
from deep_perception.untrusted.text import LINE, printable

if TYPE_CHECKING:
    from deep_perception.dam_server.model import Completion, Dam

# Seconds that the oldest region waits for others whose images are being decoded.
_GATHER_S = 1.0

_log = logging.getLogger(__name__)


@dataclass(eq=False, kw_only=True)
class Job:
    """A region in the queue or at the model. ``image`` is what ``Dam.prepare`` returns."""

    query: str
    sampling: Sampling
    image: Any
    completion: Future[Completion] = field(default_factory=Future)
    cancelled: bool = False
    since: float = field(default_factory=time.monotonic)

    def can_batch_with(self, other: Job) -> bool:
        """Whether both regions may be described in one batch."""
        # With a seed, the random numbers of a region would depend on the rest of the batch. A beam
        # search would too: it goes on as long as any region of the batch can improve.
        alone = self.sampling.seed is not None or self.sampling.num_beams > 1
        if alone and self is not other:
            return False
        return (self.query, self.sampling) == (other.query, other.sampling)


class Batcher:
    """A queue of limited length. All methods but ``run`` are called from other threads than it."""

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
        """The number of regions in the queue."""
        return len(self._queue)

    @property
    def describing(self) -> int:
        """The number of regions at the model whose clients still wait."""
        return sum(not job.cancelled for job in self._running)

    def check_room(self) -> None:
        """Raise RequestError if there is no place for a region."""
        with self._changed:
            self._refuse_if_closed()
            waiting = len(self._queue) + self._arriving
            if waiting >= self._max_queue:
                raise RequestError(
                    429,
                    "queue_full",
                    f"{waiting} regions wait, which is the limit of --max-queue; retry later",
                    retry_after_s=min(60, math.ceil(self._last_batch_s)),
                )

    def reserve(self) -> None:
        """Reserve a place for a region whose image is being decoded. Raises RequestError."""
        with self._changed:
            self.check_room()
            self._arriving += 1

    def release(self) -> None:
        """Release a reserved place: the region was queued, or its request failed."""
        with self._changed:
            self._arriving -= 1
            self._changed.notify_all()

    def put(self, job: Job) -> None:
        """Queue a region. Raises RequestError after ``close``."""
        with self._changed:
            self._refuse_if_closed()
            self._queue.append(job)
            self._changed.notify_all()

    def cancel(self, job: Job) -> None:
        """Remove a region whose client does not wait any more."""
        with self._changed:
            job.cancelled = True
            if job in self._queue:
                self._queue.remove(job)
                self._changed.notify_all()

    def close(self) -> None:
        """Refuse new and queued regions, and let ``run`` end after its current batch."""
        with self._changed:
            self._closed = True
            refused, self._queue = self._queue, []
            self._changed.notify_all()
        for job in refused:
            _finish(job, error=_stopping())

    def cancel_running(self) -> None:
        """Refuse the regions at the model too."""
        for job in list(self._running):
            job.cancelled = True
            _finish(job, error=_stopping())

    def run(self, model: Dam) -> None:
        """Describe until ``close``. Raises DeviceLost if only a new process can continue."""
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
        """Return the oldest job and those that can be batched with it."""
        if not self._queue:
            return []
        first = self._queue[0]
        return [job for job in self._queue if job.can_batch_with(first)][: self._max_batch]

    def _describe(self, model: Dam, jobs: list[Job]) -> None:
        groups = [jobs]
        while groups:
            group = [job for job in groups.pop(0) if not job.cancelled]
            if not group:
                continue
            failure = self._generate(model, group)
            if failure is None:
                continue
            _log.warning("a batch of %d regions failed: %s", len(group), printable(failure, LINE))
            if isinstance(failure, DeviceLost):
                for job in jobs:
                    _finish(job, error=RequestError(503, "device_lost", str(failure)))
                raise failure
            if len(group) == 1:
                _finish(group[0], error=_region_error(failure))
            elif isinstance(failure, OutOfMemory):
                half = len(group) // 2
                groups[:0] = [group[:half], group[half:]]
            else:
                groups[:0] = [[job] for job in group]

    def _generate(self, model: Dam, group: Sequence[Job]) -> Exception | None:
        """Describe the group, or return the error, without the traceback that holds memory."""
        first = group[0]
        try:
            completions = model.generate(
                first.query,
                [job.image for job in group],
                first.sampling,
                lambda: [job.cancelled for job in group],
            )
        except Exception as error:
            error.__cause__ = error.__context__ = None
            return error.with_traceback(None)
        # The count comes first, so that a client with its answer finds it in /health.
        self.described += len(group)
        for job, completion in zip(group, completions, strict=True):
            _finish(job, completion=completion)
        return None

    def _refuse_if_closed(self) -> None:
        if self._closed:
            raise _stopping()


def _finish(
    job: Job, completion: Completion | None = None, error: RequestError | None = None
) -> None:
    try:
        if completion is not None:
            job.completion.set_result(completion)
        else:
            job.completion.set_exception(error)
    except InvalidStateError:
        pass  # The client has disconnected, or the region was refused when the server stopped.


def _region_error(failure: Exception) -> RequestError:
    if isinstance(failure, OutOfMemory):
        return RequestError(
            503, "out_of_memory", f"this region does not fit into memory: {failure}", 30
        )
    return RequestError(
        500,
        "description_failed",
        f"the model failed: {type(failure).__name__}: {without_folders(str(failure))}",
    )


def _stopping() -> RequestError:
    return RequestError(503, "stopping", "the server is stopping", retry_after_s=5)
