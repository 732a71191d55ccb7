"""What the tests of replays by several workers have in common."""

import os
import signal
import subprocess
import time
from pathlib import Path

from support import bags
from support.replays import command, content

# A tenth of a second for a picture, so that there is time to kill who is at it.
DESCRIBER = """
import ctypes, dataclasses, os, re, time
import scipy.linalg
from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description

class Slow(Attributes):
    name = "slow"
    def describe(self, image, regions):
        time.sleep(0.1)
        for region in regions:
            words = Description(status="described", label="thing", text=f"Of {region.area} pixels.",
                                describer=self.name)
            yield region, words

class Placed(Slow):
    def describe(self, image, regions):
        for region, words in super().describe(image, regions):
            where = f"In {os.getcwd()} with {os.environ.get('OMP_NUM_THREADS')}, {_threads()}."
            yield region, dataclasses.replace(words, text=where)

def _threads():
    scipy.linalg.inv([[1.0]])
    blas = {path for path in re.findall(r"/\\S+openblas\\S+", open("/proc/self/maps").read())}
    counts = ("openblas_get_num_threads", "scipy_openblas_get_num_threads",
              "openblas_get_num_threads64_", "scipy_openblas_get_num_threads64_")
    return sorted(getattr(ctypes.CDLL(path), count)() for path in blas for count in counts
                  if hasattr(ctypes.CDLL(path), count))

class Deadly(Slow):
    def describe(self, image, regions):
        if image.mean() > 254:
            os._exit(9)
        yield from super().describe(image, regions)
"""
EVERY = ("--keyframes.mode", "interval", "--keyframes.min_interval_s", "0.0")


def three(folder, frames=20):
    """Three recordings that differ."""
    made = []
    for number, name in enumerate(("one", "two", "three")):
        pictures = list(bags.moving_scene(frames + number))
        made.append(bags.write_bag(folder / name, pictures, compression="zstd"))
    return made


def start(recordings, output, *arguments, folder, backend="Slow"):
    """The command in a process of its own; ``folder`` gets the describer."""
    (folder / "workers_words.py").write_text(DESCRIBER)
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(
            [str(folder), str(Path(__file__).parents[2]), os.environ.get("PYTHONPATH", "")]
        ),
        "XDG_CACHE_HOME": str(folder / "cache"),
    }
    return subprocess.Popen(
        command(
            *recordings, "--output", output, *EVERY,
            "--describer.backend", f"workers_words:{backend}", *arguments,
        ),
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
        cwd=folder,
    )  # fmt: skip


def finish(process, code=0):
    """Everything that it said."""
    said, _ = process.communicate(timeout=300)
    assert process.returncode == code, said
    assert "Traceback" not in said
    return said


def one_after_the_other(recordings, folder, **how):
    """What a single process makes of them."""
    finish(start(recordings, folder / "out", folder=folder, **how))
    return content(folder / "out")


def wait_for(condition, what, patience_s=120.0):
    ends = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < ends, what
        time.sleep(0.02)
    return found


def scenes_of(folder):
    """How many scenes a recording has so far."""
    path = folder / "scenes.jsonl"
    return path.read_bytes().count(b"\n") if path.exists() else 0


def processes():
    """Process id, parent and command line of all processes."""
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            try:
                parent = int((entry / "stat").read_text().rpartition(")")[2].split()[1])
                yield int(entry.name), parent, (entry / "cmdline").read_text()
            except OSError:
                continue


def descendants(pid):
    """Process id and command line of all that came from a process."""
    found, parents = [], {pid}
    while parents:
        children = [(each, line) for each, parent, line in processes() if parent in parents]
        found += children
        parents = {each for each, _ in children}
    return found


def kill(pid):
    os.kill(pid, signal.SIGKILL)
