"""The actor that replays recordings on the machines of a Ray cluster.

This module imports nothing that computes: such a library counts its threads when it is loaded, and
``Replayer`` first restores the environment variable that Ray sets for them.
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

from deep_perception._version import __version__
from deep_perception.redaction import scrub
from deep_perception.replay.events import Event, Problem

if TYPE_CHECKING:
    from deep_perception.replay.outputs.summary import Summary
    from deep_perception.replay.task import Task
    from deep_perception.replay.workers.attempt import Failure
    from deep_perception.settings import Settings

THREADS = "OMP_NUM_THREADS"


@dataclass(frozen=True, kw_only=True)
class ProcessContext:
    """The working folder of a process, its machine, and the number of threads it may use."""

    folder: Path
    node: str
    threads: str | None

    @classmethod
    def current(cls) -> ProcessContext:
        """Return the context of this process, which is connected to the cluster."""
        return cls(
            folder=Path.cwd(),
            node=ray.get_runtime_context().get_node_id(),
            threads=os.environ.get(THREADS),
        )


@dataclass(frozen=True, kw_only=True)
class ActorInfo:
    """The host name of a started actor, whether that is another machine, and its version."""

    host: str
    remote: bool
    version: str


class Replayer:
    """An actor that replays one recording after another, in the context of the command."""

    def __init__(self, settings: Settings, home: ProcessContext) -> None:
        # Ray allows one thread; results could differ from those with the default number.
        os.environ.pop(THREADS, None)
        if home.threads is not None:
            os.environ[THREADS] = home.threads
        # Relative paths keep their meaning. They are not made absolute, because they are part of
        # messages and of the inputs that must be the same to resume.
        with suppress(OSError):
            os.chdir(home.folder)
        from deep_perception.replay.run import LazyAnalyzer

        self._info = ActorInfo(
            host=socket.gethostname(),
            remote=ray.get_runtime_context().get_node_id() != home.node,
            version=__version__,
        )
        self._settings = settings
        self._analyzer = LazyAnalyzer(settings)
        # A backend is always called from the same thread, as in a process.
        self._thread = ThreadPoolExecutor(1)
        self._events: SimpleQueue[Event | None] = SimpleQueue()
        logging.getLogger().addHandler(_EmitWarnings(self._events))

    def info(self) -> ActorInfo:
        """Return what the cluster needs to know; all imports have succeeded by then."""
        return self._info

    def replay(self, task: Task) -> Iterator[Event | Summary | Failure]:
        """Yield the events of ``attempt_replay``, and its result at the end."""
        from deep_perception.replay.workers.attempt import Failure, attempt_replay

        info = self._info
        if info.remote and not task.folder.is_dir():
            yield Failure(
                f"{task.folder}: does not exist on {info.host}; recordings and --output must be on "
                "a disk that all machines of the cluster see under the same path"
            )
            return
        future = self._thread.submit(
            attempt_replay, task, self._settings, self._analyzer, self._events.put
        )
        future.add_done_callback(lambda _: self._events.put(None))
        while (event := self._events.get()) is not None:
            yield event
        result = future.result()
        if info.remote and isinstance(result, Failure):
            result = Failure(f"{result.reason} (on {info.host})")
        yield result

    def close(self) -> None:
        """Release the memory and the connections of the models."""
        self._thread.submit(self._analyzer.close).result()


class _EmitWarnings(logging.Handler):
    """Shows logged warnings on the user's terminal, such as that a backend is replaced."""

    def __init__(self, events: SimpleQueue[Event | None]) -> None:
        super().__init__(logging.WARNING)
        self._events = events

    def emit(self, record: logging.LogRecord) -> None:
        self._events.put(Problem(scrub(record.getMessage())))
