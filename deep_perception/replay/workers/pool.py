"""The loop that hands recordings to workers, whether they are processes or Ray actors."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from deep_perception.replay.events import Emit, Event
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.task import Task
from deep_perception.replay.workers.attempt import Failure, retry_or_fail


class WorkerDied(Exception):
    """A worker ended without a result."""


class Worker(Protocol):
    """Replays one recording at a time; ``task`` is the current one."""

    task: Task | None

    @property
    def idle(self) -> bool:
        """Whether it can take a task."""

    def assign(self, task: Task) -> None:
        """Start a task."""

    def receive(self) -> Event | Summary | Failure:
        """Return the next message of the current task. Raises WorkerDied."""

    def release(self) -> None:
        """Accept that the current task has ended."""

    def end(self) -> None:
        """End at once; the journal keeps what the current task has finished."""


WorkerT = TypeVar("WorkerT", bound=Worker)


class WorkerPool(ABC, Generic[WorkerT]):
    """A number of workers, of which dead ones are replaced."""

    workers: list[WorkerT]

    @abstractmethod
    def start_worker(self) -> WorkerT:
        """Start one more worker."""

    @abstractmethod
    def wait(self, emit: Emit) -> Sequence[WorkerT]:
        """Wait for messages, and return the workers with a task that have one."""

    def replay(self, tasks: Sequence[Task], emit: Emit) -> Iterator[tuple[Task, Summary | Failure]]:
        """Yield each task with its result, in the order in which they end.

        The task of a worker that dies is resumed by another one.
        """
        waiting, deaths = deque(tasks), Counter[Path]()
        while waiting or any(worker.task for worker in self.workers):
            for worker in self.workers:
                if worker.idle and waiting:
                    worker.assign(waiting.popleft())
            for worker in self.wait(emit):
                task = worker.task
                assert task is not None
                try:
                    message = worker.receive()
                except WorkerDied:
                    worker.end()
                    self.workers[self.workers.index(worker)] = self.start_worker()
                    deaths[task.folder] += 1
                    again = retry_or_fail(task, deaths[task.folder], emit)
                    if isinstance(again, Failure):
                        yield task, again
                    else:
                        waiting.appendleft(again)
                    continue
                if isinstance(message, (Summary, Failure)):
                    worker.release()
                    yield task, message
                else:
                    emit(message)

    def end(self) -> None:
        """End all workers."""
        for worker in self.workers:
            worker.end()
