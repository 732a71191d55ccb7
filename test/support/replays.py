"""What the tests of replays have in common: recordings, the command, and the bytes of a folder."""

import json
import subprocess
import sys
from pathlib import Path

from deep_perception.replay.determinism import replay_settings
from deep_perception.replay.run import ReplayModels, Task, replay_bag
from deep_perception.settings.options import settings_from
from support import bags

ROOT = Path(__file__).parents[2]
LEFT, RIGHT = "/left/image_raw", "/right/image_raw/compressed"
QUICK = {"points.grid_columns": 5, "points.grid_rows": 4, "keyframes.min_interval_s": 0.3}
# Of this run, not of what was found.
NOT_COMPARED = {"summary.json", ".replay"}


def two_cameras(path, frames=36, **of_bag):
    """A recording of two cameras, one of them compressed, and of something else."""
    left = bags.camera(bags.moving_scene(frames, cut_every=12), LEFT)
    right = bags.camera(
        bags.moving_scene(frames, cut_every=9), RIGHT, compressed_images=True, delay_ns=7_000_000
    )
    return bags.write(path, bags.together(left, right, bags.words(frames)), **of_bag)


def replay(bag, folder, changes=None, **of_task):
    """In this process; what it told, and its summary."""
    told, complaints = [], []
    settings = replay_settings(settings_from({**QUICK, **(changes or {})}), complaints.append)
    models = ReplayModels(settings)
    try:
        summary = replay_bag(Task(bag=bag, folder=folder, **of_task), settings, models, told.append)
    finally:
        models.close()
    return summary, told


def command(*arguments):
    return [sys.executable, "-m", "deep_perception", "replay", *map(str, arguments)]


def options(changes):
    return [part for name, value in changes.items() for part in (f"--{name}", value)]


def environment(cache):
    return {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'test'}",
        "PATH": "/usr/bin:/bin",
        "XDG_CACHE_HOME": str(cache),
    }


def run(*arguments, cache, changes=QUICK, **how):
    """The command in a process of its own."""
    return subprocess.run(
        command(*arguments, *options(changes)),
        capture_output=True, text=True, timeout=300, check=False,
        **{"cwd": ROOT, "env": environment(cache), **how},
    )  # fmt: skip


def content(folder):
    """The bytes of every file that must be the same, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not NOT_COMPARED & set(path.relative_to(folder).parts)
    }


def scenes(folder):
    return [json.loads(line) for line in (Path(folder) / "scenes.jsonl").read_text().splitlines()]
