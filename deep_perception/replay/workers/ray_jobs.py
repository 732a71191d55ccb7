"""Many recordings at once on a Ray cluster, or on one that is made of this machine alone."""

from __future__ import annotations

import math
from collections import Counter, deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import ray
from ray.exceptions import RayError

from deep_perception import __version__
from deep_perception.replay.events import Tell, Trouble
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.task import Task
from deep_perception.replay.workers.attempt import Failed, once_more
from deep_perception.replay.workers.ray_actor import About, Place, Replayer
from deep_perception.replay.workers.ray_cluster import cluster, unavailable
from deep_perception.settings import Settings

INSTALL = f"each needs deep_perception[replay] {__version__}"
ROOM_WITHIN_S = 15.0
END_WITHIN_S = 5.0


def replay_on_ray(
    tasks: Sequence[Task], settings: Settings, address: str, workers: int | None, tell: Tell
) -> Iterator[tuple[Task, Summary | Failed]]:
    """Each task with what came of it, as they end; ``workers`` of them at once, None: all that fit.

    ``address`` is of a running cluster, which is left running; with "local" one is started and
    stopped. What an actor was at that dies is gone on with by another one. Raises
    BackendUnavailable when there is no cluster that could replay.
    """
    with cluster(address, workers and min(workers, len(tasks))):
        team = _Team(tasks, settings, address, workers)
        try:
            yield from team.replay(tasks, tell)
        finally:
            team.end()


def _room(settings: Settings, workers: int | None, tasks: int) -> tuple[int, dict[str, Any]]:
    """How many actors there are to be, and what each of them takes of the cluster."""
    total = ray.cluster_resources()
    gpus, words = int(total.get("GPU", 0)), settings.describer
    sam2 = settings.segmenter.backend.startswith("sam2")
    # Whoever names one of the GPUs shares them out.
    on_gpu = (sam2 and settings.segmenter.device in ("auto", "cuda")) or (
        words.backend == "dam" and words.dam.device == "cuda"
    )
    if on_gpu and gpus:
        count = min(workers or gpus, tasks)
        return count, {"num_cpus": 1, "num_gpus": 1 / math.ceil(count / gpus)}
    if sam2:
        # It keeps all cores of a machine busy.
        machines = sum(node["Alive"] and "CPU" in node["Resources"] for node in ray.nodes())
        count = min(workers or max(1, machines), tasks)
        return count, {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
    cpus = int(total.get("CPU", 0))
    return min(workers or max(1, cpus), tasks), {"num_cpus": 1}


class _Team:
    """The actors, as many as there are recordings at most."""

    def __init__(
        self, tasks: Sequence[Task], settings: Settings, address: str, workers: int | None
    ) -> None:
        count, takes = _room(settings, workers, len(tasks))
        self._address = address
        self._settings, self._home = settings, Place.here()
        self._actors = ray.remote(Replayer).options(**takes)
        self._workers = [self._start() for _ in range(count)]
        self._refusals: dict[str, None] = {}
        self._told: set[str] = set()

    def _start(self) -> _Worker:
        return _Worker(self._actors.remote(self._settings, self._home))

    def replay(self, tasks: Sequence[Task], tell: Tell) -> Iterator[tuple[Task, Summary | Failed]]:
        waiting, deaths = deque(tasks), Counter[Path]()
        while waiting or any(worker.task for worker in self._workers):
            for worker in self._workers:
                if worker.idle and waiting:
                    worker.give(waiting.popleft())
            for worker in self._ready(tell):
                task = worker.task
                if task is None:
                    self._welcome(worker, tell)
                    continue
                try:
                    event = ray.get(next(worker.waits_for))
                except RayError:
                    worker.end()
                    self._workers[self._workers.index(worker)] = self._start()
                    deaths[task.folder] += 1
                    again = once_more(task, deaths[task.folder], tell)
                    if isinstance(again, Failed):
                        yield task, again
                    else:
                        waiting.appendleft(again)
                    continue
                if isinstance(event, (Summary, Failed)):
                    worker.leave()
                    yield task, event
                else:
                    tell(event)

    def _ready(self, tell: Tell) -> list[_Worker]:
        """Those that have something to say."""
        waits = [worker.waits_for for worker in self._workers if not worker.idle]
        ready, _ = ray.wait(waits, timeout=ROOM_WITHIN_S)
        if not ready and not any(worker.about for worker in self._workers):
            self._tell_once("waiting for the cluster to have room", tell)
        return [worker for worker in self._workers if worker.waits_for in ready]

    def _welcome(self, worker: _Worker, tell: Tell) -> None:
        """To work, or out of the team."""
        try:
            about: About = ray.get(worker.waits_for)
            theirs = about.version
            reason = f"{about.host} has {theirs}, here is {__version__}"
            worker.about = about if theirs == __version__ else None
        except RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
        if worker.about is None:
            worker.end()
            self._workers.remove(worker)
            self._refusals[f"a machine of the cluster cannot replay ({reason}); {INSTALL}"] = None
            if not self._workers:
                raise unavailable(self._address, "; ".join(self._refusals))
        if any(each.about for each in self._workers):
            for refusal in self._refusals:
                self._tell_once(refusal, tell)

    def _tell_once(self, what: str, tell: Tell) -> None:
        if what not in self._told:
            self._told.add(what)
            tell(Trouble(f"--ray {self._address}: {what}"))

    def end(self) -> None:
        """Those that are at something at once: what they had done is kept."""
        with suppress(RayError):
            closing = [each.actor.close.remote() for each in self._workers if each.idle]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=END_WITHIN_S)
        for worker in self._workers:
            worker.end()


class _Worker:
    """An actor, and the recording that it is at."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.about: About | None = None
        self.task: Task | None = None
        self.waits_for = actor.about.remote()

    @property
    def idle(self) -> bool:
        return self.about is not None and self.task is None

    def give(self, task: Task) -> None:
        if self.about is not None and self.about.away:
            # It looks whether it sees it.
            with suppress(OSError):
                task.folder.mkdir(parents=True, exist_ok=True)
        self.task = task
        self.waits_for = self.actor.replay.remote(task)

    def leave(self) -> None:
        """The recording is done with, and the folder gone if nothing came of it."""
        if self.task is not None and self.about is not None and self.about.away:
            with suppress(OSError):
                self.task.folder.rmdir()
        self.task = None

    def end(self) -> None:
        ray.kill(self.actor)
