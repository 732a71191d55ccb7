"""Frames a second of several recordings by two workers, compared with one, starts included."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.task import Task
from deep_perception.replay.workers.processes import replay_in_processes
from deep_perception.settings import Settings
from synthetic.recordings import scenes, write

# 640x480 JPEG at 10 Hz; an object moves, and the scene changes every 3 s.
RUNS, RECORDINGS, FRAMES, RATE_HZ, CUT_EVERY = 3, 4, 200, 10.0, 30


def run() -> Measurement:
    """Measure the embedded default, with all outputs."""
    with tempfile.TemporaryDirectory() as folder:
        tasks = []
        for name in map(str, range(RECORDINGS)):
            frames = scenes(FRAMES, width=640, height=480, cut_every=CUT_EVERY)
            bag = write(Path(folder) / name, frames, RATE_HZ)
            tasks.append(Task(bag=bag, folder=Path(folder) / "out" / name, mode="overwrite"))

        def replay(workers: int) -> None:
            results = replay_in_processes(tasks, Settings(), workers, lambda event: None)
            assert all(isinstance(result, Summary) for _, result in results)

        ours, baseline = turn_by_turn(lambda: replay(2), lambda: replay(1), RUNS)
    return {
        "name": "replay_workers",
        "value": baseline / ours,
        "unit": "frames/s",
        "baseline": RECORDINGS * FRAMES / baseline,
        "ours": RECORDINGS * FRAMES / ours,
        "runs": RUNS,
    }
