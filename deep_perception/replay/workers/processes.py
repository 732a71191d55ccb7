"""Many recordings at once, each in a process of this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from deep_perception.replay.events import Emit, Event
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.run import LazyAnalyzer
from deep_perception.replay.task import Task
from deep_perception.replay.workers.attempt import Failure, attempt_replay
from deep_perception.replay.workers.pool import WorkerDied, WorkerPool
from deep_perception.replay.workers.start_folder import neutral_folder
from deep_perception.settings import Settings

# The processes are spawned, because threads and CUDA do not survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")
END_WITHIN_S = 5.0


def replay_in_processes(
    tasks: Sequence[Task], settings: Settings, workers: int, emit: Emit
) -> Iterator[tuple[Task, Summary | Failure]]:
    """Yield each task with its result as they end, ``workers`` of them at once.

    Each process loads the models once and replays one recording after another.
    """
    pool = _ProcessPool(settings, min(workers, len(tasks)))
    try:
        yield from pool.replay(tasks, emit)
    finally:
        pool.end()


class _ProcessPool(WorkerPool["_ProcessWorker"]):
    def __init__(self, settings: Settings, count: int) -> None:
        self._settings = settings
        self.workers = [self.start_worker() for _ in range(count)]

    def start_worker(self) -> _ProcessWorker:
        return _ProcessWorker(self._settings)

    def wait(self, emit: Emit) -> list[_ProcessWorker]:
        busy = [worker for worker in self.workers if worker.task]
        ready = wait([worker.connection for worker in busy])
        return [worker for worker in busy if worker.connection in ready]


class _ProcessWorker:
    """A process, and the recording that it replays."""

    def __init__(self, settings: Settings) -> None:
        self.task: Task | None = None
        self.connection, theirs = _CONTEXT.Pipe()
        with neutral_folder() as home:
            arguments = (theirs, settings, home)
            self._process = _CONTEXT.Process(target=_serve, args=arguments, daemon=True)
            self._process.start()
        theirs.close()

    @property
    def idle(self) -> bool:
        return self.task is None

    def assign(self, task: Task) -> None:
        self.task = task
        # If the process is dead already, receive() finds the end of its connection.
        with suppress(OSError):
            self.connection.send(task)

    def receive(self) -> Event | Summary | Failure:
        try:
            message: Event | Summary | Failure = self.connection.recv()
        except (EOFError, OSError):
            raise WorkerDied from None
        return message

    def release(self) -> None:
        self.task = None

    def end(self) -> None:
        self.connection.close()
        if self.task is not None:
            self._process.terminate()
        self._process.join(END_WITHIN_S)
        if self._process.is_alive():
            self._process.kill()


class _Terminated(BaseException):
    """SIGTERM; not an Exception, because an Exception would only cost the current frame."""


def _terminate(*_: object) -> None:
    # An exception instead of an exit: temporary files of a recording are removed on the way.
    raise _Terminated


def _serve(connection: Connection, settings: Settings, folder: Path) -> None:
    # Ctrl-C in a terminal reaches every process; the parent process ends this one.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _terminate)
    threading.Thread(target=_exit_with_parent, daemon=True).start()
    with suppress(OSError):
        os.chdir(folder)
    analyzer = LazyAnalyzer(settings)
    try:
        while True:
            task: Task = connection.recv()
            connection.send(attempt_replay(task, settings, analyzer, connection.send))
    except (EOFError, OSError, _Terminated):
        pass  # the parent process wants no more results
    finally:
        analyzer.close()


def _exit_with_parent() -> None:
    # A worker that outlives a killed parent would keep the folders of its recordings locked.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
