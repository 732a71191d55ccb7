"""Several recordings at once, by worker processes or Ray actors that a test interrupts."""

import os
import subprocess
import sys
import time
from pathlib import Path

from support import bags
from support.replays import PATIENCE_S, command, content

# A module that workers import by the setting describer.backend. Its classes find the outputs, and
# the files that they share with the test, in the working folder.
DESCRIBER = """
import ctypes, dataclasses, os, re, signal, time
from pathlib import Path
import scipy.linalg
from deep_perception.describers.attributes import Attributes
from deep_perception.regions import Description
from deep_perception.replay import journal

# Every frame is saved, so that the number of saved scenes does not depend on the machine's speed.
journal.SAVE_EVERY_S = 0.0

class Steady(Attributes):
    name = "steady"
    def describe(self, image, regions):
        for region in regions:
            words = Description(status="described", label="thing", text=f"Of {region.area} pixels.",
                                describer=self.name)
            yield region, words

def _scenes():
    path = Path("out/one/scenes.jsonl")
    return path.read_bytes().count(b"\\n") if path.exists() else 0

class DiesOnce(Steady):
    # The first worker that sees three scenes of the recording "one" is killed.
    def describe(self, image, regions):
        yield from super().describe(image, regions)
        if _scenes() >= 3:
            try:
                Path("died").touch(exist_ok=False)
            except FileExistsError:
                return
            os.kill(os.getpid(), signal.SIGKILL)

class WaitsOnce(Steady):
    # Every worker waits in the middle, until a file says that it need not.
    def describe(self, image, regions):
        yield from super().describe(image, regions)
        if _scenes() >= 3:
            Path(f"waits_{os.getpid()}").touch()
            while not Path("go_on").exists():
                time.sleep(0.01)

class Placed(Steady):
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

class Deadly(Steady):
    def describe(self, image, regions):
        if image.mean() > 254:
            os._exit(9)
        yield from super().describe(image, regions)
"""
EVERY = ("--keyframes.mode", "interval", "--keyframes.min_interval_s", "0.0")


def three(folder, frames=8):
    """Three recordings that differ."""
    made = []
    for number, name in enumerate(("one", "two", "three")):
        pictures = list(bags.moving_scene(frames + number))
        made.append(bags.write_bag(folder / name, pictures, compression="zstd"))
    return made


def start(recordings, output, *arguments, folder, backend="Steady"):
    """The command in a process of its own; it runs in ``folder``, which gets the describer."""
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


def start_among_foreign_modules(recording, output, *arguments, folder):
    """The installed command in a folder with modules of somebody else, which leave a file."""
    script = folder / "bin" / "deep_perception"
    script.parent.mkdir()
    script.write_text(
        "from deep_perception.cli.main import main\n\n"
        "if __name__ == '__main__':\n    raise SystemExit(main())\n"
    )
    downloads = folder / "downloads"
    downloads.mkdir()
    for name in ("multiprocessing", "pickle", "numpy", "cv2", "yaml", "ray"):
        module = f"open({str(folder / 'was_run')!r}, 'w')\nraise ImportError('foreign {name}')\n"
        (downloads / f"{name}.py").write_text(module)
    inherited = [part for part in os.environ.get("PYTHONPATH", "").split(os.pathsep) if part]
    paths = os.pathsep.join([str(Path(__file__).parents[2]), *inherited])
    return subprocess.Popen(
        [sys.executable, script, "replay", recording, "--output", output, *EVERY, *arguments],
        env={**os.environ, "PYTHONPATH": paths, "XDG_CACHE_HOME": str(folder / "cache")},
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, cwd=downloads,
    )  # fmt: skip


def finish(process, code=0):
    """Wait for the end; returns everything that the command printed."""
    output, _ = process.communicate(timeout=PATIENCE_S)
    assert process.returncode == code, output
    assert "Traceback" not in output
    return output


def one_after_the_other(recordings, folder, **how):
    """The outputs of a single process."""
    finish(start(recordings, folder / "out", folder=folder, **how))
    return content(folder / "out")


def wait_for(condition, what, patience_s=PATIENCE_S):
    ends = time.monotonic() + patience_s
    while not (found := condition()):
        assert time.monotonic() < ends, what
        time.sleep(0.01)
    return found


def wait_for_waiting_worker(folder):
    """Wait until a worker with the describer ``WaitsOnce`` has come to the middle."""
    wait_for(lambda: list(folder.glob("waits_*")), "a worker in the middle of a recording")


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
    """Process id and command line of all descendants of a process."""
    found, parents = [], {pid}
    while parents:
        children = [(child, line) for child, parent, line in processes() if parent in parents]
        found += children
        parents = {child for child, _ in children}
    return found
