"""Recordings, the command line, and the comparison of output folders for the tests of replays."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from deep_perception.replay.determinism import replay_settings
from deep_perception.replay.run import LazyAnalyzer, Task, replay_bag
from deep_perception.settings.options import settings_from
from support import bags
from support.interruption import interrupt_at

ROOT = Path(__file__).parents[2]
LEFT, RIGHT = "/left/image_raw", "/right/image_raw/compressed"
QUICK = {"points.grid_columns": 5, "points.grid_rows": 4, "keyframes.min_interval_s": 0.3}
# These depend on the run and not only on the recording.
NOT_COMPARED = {"summary.json", ".replay"}
# Seconds after which a process is taken to hang.
PATIENCE_S = 300
# Processes of this server have all imports done, which take a second of CPU time.
_PROCESSES = multiprocessing.get_context("forkserver")
_PROCESSES.set_forkserver_preload(
    [
        "deep_perception.cli.main",
        "deep_perception.replay.datasets",
        "deep_perception.replay.run",
        "deep_perception.replay.workers.attempt",
        "support.interruption",
        "tqdm",
    ]
)


def two_cameras(path, frames=36, **of_bag):
    """A recording of two cameras, one of them compressed, and of a topic without images."""
    left = bags.camera(bags.moving_scene(frames, cut_every=12), LEFT)
    right = bags.camera(
        bags.moving_scene(frames, cut_every=9), RIGHT, compressed_images=True, delay_ns=7_000_000
    )
    return bags.write(path, bags.together(left, right, bags.words(frames)), **of_bag)


def replay(bag, folder, changes=None, **of_task):
    """Replay in this process; returns the summary and the events."""
    events = []
    settings = replay_settings(settings_from({**QUICK, **(changes or {})}), lambda event: None)
    analyzer = LazyAnalyzer(settings)
    try:
        summary = replay_bag(
            Task(bag=bag, folder=folder, **of_task), settings, analyzer, events.append
        )
    finally:
        analyzer.close()
    return summary, events


# -- the command line -----------------------------------------------------------------------------


def command(*arguments):
    return [sys.executable, "-m", "deep_perception", "replay", *map(str, arguments)]


def options(changes):
    return [part for name, value in changes.items() for part in (f"--{name}", str(value))]


def environment(cache):
    return {
        "PYTHONPATH": f"{ROOT}:{ROOT / 'test'}",
        "PATH": "/usr/bin:/bin",
        "XDG_CACHE_HOME": str(cache),
    }


def run_command(*arguments, cache, changes=QUICK, **how):
    """Run the command as a user does, by a new interpreter."""
    return subprocess.run(
        command(*arguments, *options(changes)),
        capture_output=True, text=True, timeout=PATIENCE_S, check=False,
        **{"cwd": ROOT, "env": environment(cache), **how},
    )  # fmt: skip


class Replay:
    """The command in a process of its own, which is forked from one with all imports done.

    ``at``: points, at the last of which the process sends itself the signal ``number``.
    ``save_every_s``: seconds between two saved states, instead of the second of a user.
    """

    def __init__(self, *arguments, cache, changes=QUICK, env=None, **interruption):
        self._folder = tempfile.TemporaryDirectory()
        self._outputs = [Path(self._folder.name) / name for name in ("stdout", "stderr")]
        self.arguments = ["replay", *map(str, arguments), *options(changes)]
        self.process = _PROCESSES.Process(
            target=_main,
            args=(self.arguments, env or environment(cache), self._outputs),
            kwargs=interruption,
        )
        self.process.start()

    def is_stopped(self):
        """Whether the process has stopped by SIGSTOP."""
        status = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return status[0] == "T"

    def finish(self):
        """Wait for the end; returns exit code and outputs, the negative signal if it was killed."""
        self.process.join(PATIENCE_S)
        hangs = self.process.exitcode is None
        if hangs:
            self.process.kill()
            self.process.join()
        texts = [path.read_text() if path.exists() else "" for path in self._outputs]
        assert not hangs, texts
        code = self.process.exitcode
        self._folder.cleanup()
        return subprocess.CompletedProcess(self.arguments, code, *texts)


def run(*arguments, **how):
    """Run the command to its end, see ``Replay``."""
    return Replay(*arguments, **how).finish()


def _main(arguments, variables, outputs, at=(), number=signal.SIGKILL, save_every_s=None):
    os.environ.clear()
    os.environ.update(variables)
    os.chdir(ROOT)
    for descriptor, path in enumerate(outputs, start=1):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT), descriptor)
    from deep_perception.cli.main import main
    from deep_perception.replay import journal

    if save_every_s is not None:
        journal.SAVE_EVERY_S = save_every_s
    interrupt_at(at, number)
    sys.exit(main(arguments))


# -- the outputs ----------------------------------------------------------------------------------


def content(folder):
    """The bytes of every file that must be the same, by its path."""
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(Path(folder).rglob("*"))
        if path.is_file() and not NOT_COMPARED & set(path.relative_to(folder).parts)
    }


def scenes(folder):
    return [json.loads(line) for line in (Path(folder) / "scenes.jsonl").read_text().splitlines()]
