"""What works for ``ray_jobs.py`` on the machines of a Ray cluster.

Nothing that computes is imported at the top: a library counts its threads when it is loaded, and
``Replayer`` first takes back what Ray says of them.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING

import ray

from deep_perception import __version__
from deep_perception.replay.events import Note, Progress, Trouble

if TYPE_CHECKING:
    from deep_perception.replay.outputs.summary import Summary
    from deep_perception.replay.task import Task
    from deep_perception.replay.workers.attempt import Failed
    from deep_perception.settings import Settings

THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where a process runs: its working folder, its machine, and how many threads it may use."""

    folder: Path
    node: str
    threads: str | None

    @classmethod
    def here(cls) -> Place:
        """Of this process, which is connected to the cluster."""
        return cls(
            folder=Path.cwd(),
            node=ray.get_runtime_context().get_node_id(),
            threads=os.environ.get(THREADS),
        )


@dataclass(frozen=True, kw_only=True)
class About:
    """A replayer that has started: its machine's name, whether that is another one, its version."""

    host: str
    away: bool
    version: str


class Replayer:
    """An actor: one recording after the other, as if the command ran where it runs."""

    def __init__(self, settings: Settings, home: Place) -> None:
        # Ray allows one thread: words and masks could be others than without it.
        os.environ.pop(THREADS, None)
        if home.threads is not None:
            os.environ[THREADS] = home.threads
        # Relative paths, in settings too, mean the same. They stay as they are: they are in
        # messages, and in what must be the same to go on.
        with suppress(OSError):
            os.chdir(home.folder)
        from deep_perception.replay.run import ReplayModels

        self._about = About(
            host=socket.gethostname(),
            away=ray.get_runtime_context().get_node_id() != home.node,
            version=__version__,
        )
        self._settings = settings
        self._models = ReplayModels(settings)
        # A backend finds itself in the same thread each time, as in a process.
        self._thread = ThreadPoolExecutor(1)
        self._told: SimpleQueue[Note | Trouble | Progress | None] = SimpleQueue()
        logging.getLogger().addHandler(_Telling(self._told))

    def about(self) -> About:
        """Once this answers, everything needed is installed."""
        return self._about

    def replay(self, task: Task) -> Iterator[Note | Trouble | Progress | Summary | Failed]:
        """What ``attempt`` tells, and in the end what it gives."""
        from deep_perception.replay.workers.attempt import Failed, attempt

        about = self._about
        if about.away and not task.folder.is_dir():
            yield Failed(
                f"{task.folder}: is not there on {about.host}; recordings and --output must be on "
                "a disk that all machines of the cluster see under the same path"
            )
            return
        ended = self._thread.submit(attempt, task, self._settings, self._models, self._told.put)
        ended.add_done_callback(lambda _: self._told.put(None))
        while (event := self._told.get()) is not None:
            yield event
        result = ended.result()
        if about.away and isinstance(result, Failed):
            result = Failed(f"{result.reason} (on {about.host})")
        yield result

    def close(self) -> None:
        """Give the models' memory and connections back."""
        self._thread.submit(self._models.close).result()


class _Telling(logging.Handler):
    """Warnings on the user's terminal: which backend is replaced by its fallback, and why."""

    def __init__(self, told: SimpleQueue[Note | Trouble | Progress | None]) -> None:
        super().__init__(logging.WARNING)
        self._told = told

    def emit(self, record: logging.LogRecord) -> None:
        self._told.put(Trouble(record.getMessage()))
