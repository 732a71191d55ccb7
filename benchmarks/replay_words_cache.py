"""The cost of the description cache in a replay, in the worst case: a describer that takes no time
and never sees the same region twice."""

from __future__ import annotations

import tempfile
from pathlib import Path

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception.replay.determinism import replay_settings
from deep_perception.replay.run import LazyAnalyzer, Task, replay_bag
from deep_perception.settings.options import settings_from
from synthetic.recordings import scenes, write

RUNS, FRAMES = 5, 60


def run() -> Measurement:
    """Measure the seconds of a replay at 640x480."""
    with tempfile.TemporaryDirectory() as folder:
        frames = scenes(FRAMES, width=640, height=480, cut_every=10)
        bag = write(Path(folder) / "bag", frames, rate_hz=5.0)

        def replay(cache_size: int) -> None:
            file = Path(folder) / "words.sqlite"
            settings = replay_settings(
                settings_from(
                    {
                        "describer.backend": "benchmarks.calls:Counting",
                        "describer.cache_size": cache_size,
                        "describer.cache_file": str(file),
                    }
                ),
                lambda line: None,
            )
            task = Task(bag=bag, folder=Path(folder) / "out", mode="overwrite", images="none")
            analyzer = LazyAnalyzer(settings)
            try:
                replay_bag(task, settings, analyzer, lambda event: None)
            finally:
                analyzer.close()
                file.unlink(missing_ok=True)

        ours, baseline = turn_by_turn(lambda: replay(2048), lambda: replay(0), RUNS)
    return {
        "name": "replay_words_cache",
        "value": ours / baseline,
        "unit": "s",
        "baseline": baseline,
        "ours": ours,
        "runs": RUNS,
    }
