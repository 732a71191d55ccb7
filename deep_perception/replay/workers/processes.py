"""Many recordings at once, each in a process of its own on this machine."""

from __future__ import annotations

import multiprocessing
import os
import signal
import threading
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from multiprocessing.connection import Connection, wait
from pathlib import Path

from deep_perception.replay.events import Tell
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.run import ReplayModels
from deep_perception.replay.task import Task
from deep_perception.replay.workers.attempt import Failed, attempt, once_more
from deep_perception.settings import Settings

# Threads of this process, and CUDA, do not survive a fork.
_CONTEXT = multiprocessing.get_context("spawn")
END_WITHIN_S = 5.0


def replay_in_processes(
    tasks: Sequence[Task], settings: Settings, workers: int, tell: Tell
) -> Iterator[tuple[Task, Summary | Failed]]:
    """Each task with what came of it, as they end; ``workers`` of them at once.

    A process loads the models once, for one recording after the other. The recordings of a process
    that dies are gone on with in another one.
    """
    waiting, deaths = deque(tasks), Counter[Path]()
    team = [_Worker(settings) for _ in range(min(workers, len(tasks)))]
    try:
        while waiting or any(worker.task for worker in team):
            for worker in team:
                if worker.task is None and waiting:
                    worker.give(waiting.popleft())
            busy = [worker for worker in team if worker.task]
            ready = wait([worker.connection for worker in busy])
            for worker in busy:
                task = worker.task
                if worker.connection not in ready or task is None:
                    continue
                try:
                    message = worker.connection.recv()
                except (EOFError, OSError):
                    worker.end()
                    team[team.index(worker)] = _Worker(settings)
                    deaths[task.folder] += 1
                    again = once_more(task, deaths[task.folder], tell)
                    if isinstance(again, Failed):
                        yield task, again
                    else:
                        waiting.appendleft(again)
                    continue
                if isinstance(message, (Summary, Failed)):
                    worker.task = None
                    yield task, message
                else:
                    tell(message)
    finally:
        for worker in team:
            worker.end()


class _Worker:
    """A process, and the recording that it is at."""

    def __init__(self, settings: Settings) -> None:
        self.task: Task | None = None
        self.connection, theirs = _CONTEXT.Pipe()
        self._process = _CONTEXT.Process(target=_serve, args=(theirs, settings), daemon=True)
        self._process.start()
        theirs.close()

    def give(self, task: Task) -> None:
        self.task = task
        # Of one that is dead already the end of its line says so when it is read.
        with suppress(OSError):
            self.connection.send(task)

    def end(self) -> None:
        """At once, whatever it is at: what it had done is kept."""
        self.connection.close()
        if self.task is not None:
            self._process.terminate()
        self._process.join(END_WITHIN_S)
        if self._process.is_alive():
            self._process.kill()


class _Ended(BaseException):
    """Not an Exception: whatever a frame raises costs this frame only."""


def _end(*_: object) -> None:
    # What is unpacked of a recording goes on the way out.
    raise _Ended


def _serve(connection: Connection, settings: Settings) -> None:
    # Ctrl-C in a terminal reaches every process: this one is told to end by the first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    threading.Thread(target=_end_with_parent, daemon=True).start()
    models = ReplayModels(settings)
    try:
        while True:
            task: Task = connection.recv()
            connection.send(attempt(task, settings, models, connection.send))
    except (EOFError, OSError, _Ended):
        pass  # nobody wants more
    finally:
        models.close()


def _end_with_parent() -> None:
    # Also of one that was killed: else its recordings would be in use by nobody's replay.
    parent = multiprocessing.parent_process()
    if parent is not None:
        wait([parent.sentinel])
        os._exit(1)
