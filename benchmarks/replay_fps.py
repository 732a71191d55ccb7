"""Frames a second of a whole replay with its outputs, compared with only decoding the frames."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception.replay.recordings.bags import Recording
from deep_perception.replay.run import LazyAnalyzer, Task, replay_bag
from deep_perception.settings import Settings
from synthetic.recordings import scenes, write

# 640x480 JPEG at 10 Hz; an object moves, and the scene changes every 3 s.
RUNS, FRAMES, RATE_HZ, CUT_EVERY = 5, 200, 10.0, 30


def run() -> Measurement:
    """Measure the embedded default."""
    settings = Settings()
    analyzer = LazyAnalyzer(settings)
    with tempfile.TemporaryDirectory() as folder:
        frames = scenes(FRAMES, width=640, height=480, cut_every=CUT_EVERY)
        bag = write(Path(folder) / "bag", frames, RATE_HZ)
        task = Task(bag=bag, folder=Path(folder) / "out", mode="overwrite")

        def read() -> None:
            with Recording(bag) as recording:
                for frame in recording.frames(list(recording.image_topics)):
                    frame.image()

        ours, baseline = turn_by_turn(
            lambda: replay_bag(task, settings, analyzer, lambda event: None), read, RUNS
        )
    analyzer.close()
    return {
        "name": "replay_fps",
        "value": baseline / ours,
        "unit": "frames/s",
        "baseline": FRAMES / baseline,
        "ours": FRAMES / ours,
        "runs": RUNS,
    }
