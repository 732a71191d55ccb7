"""Many recordings at once on a Ray cluster, which may consist of this machine only."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import Any

import ray
from ray.exceptions import RayError

from deep_perception._version import __version__
from deep_perception.replay.events import Emit, Event, Problem
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.task import Task
from deep_perception.replay.workers.attempt import Failure
from deep_perception.replay.workers.pool import WorkerDied, WorkerPool
from deep_perception.replay.workers.ray_actor import ActorInfo, ProcessContext, Replayer
from deep_perception.replay.workers.ray_cluster import cluster, unavailable
from deep_perception.settings import Settings

INSTALL = f"each needs deep_perception[replay] {__version__}"
ROOM_WITHIN_S = 15.0
END_WITHIN_S = 5.0


def replay_on_ray(
    tasks: Sequence[Task], settings: Settings, address: str, workers: int | None, emit: Emit
) -> Iterator[tuple[Task, Summary | Failure]]:
    """Yield each task with its result as they end, ``workers`` at once (None: all that fit).

    ``address`` is that of a running cluster, which is left running; "local" starts and stops one.
    Raises BackendUnavailable if there is no cluster that can replay.
    """
    with cluster(address, workers and min(workers, len(tasks))):
        pool = _RayPool(tasks, settings, address, workers)
        try:
            yield from pool.replay(tasks, emit)
        finally:
            pool.end()


def _resources(settings: Settings, workers: int | None, tasks: int) -> tuple[int, dict[str, Any]]:
    """Return the number of actors, and the resources of the cluster that each of them takes."""
    total = ray.cluster_resources()
    gpus, describer = int(total.get("GPU", 0)), settings.describer
    sam2 = settings.segmenter.backend.startswith("sam2")
    # A setting that names one GPU ("cuda:1") shares the GPUs out itself.
    on_gpu = (sam2 and settings.segmenter.device in ("auto", "cuda")) or (
        describer.backend == "dam" and describer.dam.device == "cuda"
    )
    if on_gpu and gpus:
        count = min(workers or gpus, tasks)
        return count, {"num_cpus": 1, "num_gpus": 1 / math.ceil(count / gpus)}
    if sam2:
        # SAM2 on a CPU uses all cores of a machine.
        machines = sum(node["Alive"] and "CPU" in node["Resources"] for node in ray.nodes())
        count = min(workers or max(1, machines), tasks)
        return count, {"num_cpus": 1, "scheduling_strategy": "SPREAD"}
    cpus = int(total.get("CPU", 0))
    return min(workers or max(1, cpus), tasks), {"num_cpus": 1}


class _RayPool(WorkerPool["_RayWorker"]):
    """At most as many actors as there are recordings."""

    def __init__(
        self, tasks: Sequence[Task], settings: Settings, address: str, workers: int | None
    ) -> None:
        count, resources = _resources(settings, workers, len(tasks))
        self._address = address
        self._settings, self._home = settings, ProcessContext.current()
        self._actors = ray.remote(Replayer).options(**resources)
        self.workers = [self.start_worker() for _ in range(count)]
        self._refusals: dict[str, None] = {}
        self._emitted: set[str] = set()

    def start_worker(self) -> _RayWorker:
        return _RayWorker(self._actors.remote(self._settings, self._home))

    def wait(self, emit: Emit) -> list[_RayWorker]:
        pending = [worker.pending for worker in self.workers if not worker.idle]
        found, _ = ray.wait(pending, timeout=ROOM_WITHIN_S)
        if not found and not any(worker.info for worker in self.workers):
            self._emit_once("waiting for the cluster to have room", emit)
        ready = [worker for worker in self.workers if worker.pending in found]
        for worker in ready:
            if worker.task is None:
                self._admit(worker, emit)
        return [worker for worker in ready if worker.task is not None]

    def _admit(self, worker: _RayWorker, emit: Emit) -> None:
        """Make a started worker available, or remove it if it cannot replay."""
        try:
            info: ActorInfo = ray.get(worker.pending)
            reason = f"{info.host} has {info.version}, here is {__version__}"
            worker.info = info if info.version == __version__ else None
        except RayError as error:
            reason = str(error).strip().rpartition("\n")[2]
        if worker.info is None:
            worker.end()
            self.workers.remove(worker)
            self._refusals[f"a machine of the cluster cannot replay ({reason}); {INSTALL}"] = None
            if not self.workers:
                raise unavailable(self._address, "; ".join(self._refusals))
        if any(other.info for other in self.workers):
            for refusal in self._refusals:
                self._emit_once(refusal, emit)

    def _emit_once(self, text: str, emit: Emit) -> None:
        if text not in self._emitted:
            self._emitted.add(text)
            emit(Problem(f"--ray {self._address}: {text}"))

    def end(self) -> None:
        # Idle actors close their models; the others end at once, as their journals are consistent.
        with suppress(RayError):
            closing = [worker.actor.close.remote() for worker in self.workers if worker.idle]
            if closing:
                ray.wait(closing, num_returns=len(closing), timeout=END_WITHIN_S)
        super().end()


class _RayWorker:
    """An actor, and the recording that it replays. ``info`` is None until it has started."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor
        self.info: ActorInfo | None = None
        self.task: Task | None = None
        self.pending = actor.info.remote()

    @property
    def idle(self) -> bool:
        return self.info is not None and self.task is None

    def assign(self, task: Task) -> None:
        if self.info is not None and self.info.remote:
            # The actor checks whether its machine sees this folder.
            with suppress(OSError):
                task.folder.mkdir(parents=True, exist_ok=True)
        self.task = task
        self.pending = self.actor.replay.remote(task)

    def receive(self) -> Event | Summary | Failure:
        try:
            message: Event | Summary | Failure = ray.get(next(self.pending))
        except RayError:
            raise WorkerDied from None
        return message

    def release(self) -> None:
        # The folder that assign() created is removed if the replay wrote nothing into it.
        if self.task is not None and self.info is not None and self.info.remote:
            with suppress(OSError):
                self.task.folder.rmdir()
        self.task = None

    def end(self) -> None:
        ray.kill(self.actor)
