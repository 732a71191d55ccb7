"""Peak memory of a replay of an hour, compared with one of ten minutes: it must not grow."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Measurement
from synthetic.recordings import scenes, write

# One frame a second; the scene changes every 20 s.
RATE_HZ, CUT_EVERY, WIDTH, HEIGHT = 1.0, 20, 320, 240
SHORT_S, TIMES = 600, 6
# VmHWM of Linux is the peak of this process only; that of getrusage includes the parent's memory.
REPLAY = """
import sys
from pathlib import Path
from deep_perception.cli.main import main
datasets = ["--export", "coco,yolo,yolo-seg,pairs"]
code = main(["replay", sys.argv[1], "--output", sys.argv[2], *datasets])
(peak,) = [line for line in Path("/proc/self/status").read_text().splitlines() if "VmHWM" in line]
sys.stdout.write(f"\\nPEAK {peak.split()[1]}")
sys.exit(code)
"""


def run() -> Measurement:
    """Measure megabytes, each in a process of its own, with all outputs and datasets."""
    short, long = _peak_mb(SHORT_S), _peak_mb(SHORT_S * TIMES)
    return {
        "name": "replay_memory",
        "value": long / short,
        "unit": "MB",
        "baseline": short,
        "ours": long,
        "runs": 1,
    }


def _peak_mb(seconds: int) -> float:
    with tempfile.TemporaryDirectory() as folder:
        count = int(seconds * RATE_HZ)
        frames = scenes(count, width=WIDTH, height=HEIGHT, cut_every=CUT_EVERY, moving=False)
        bag = write(Path(folder) / "bag", frames, RATE_HZ)
        done = subprocess.run(
            [sys.executable, "-c", REPLAY, str(bag), f"{folder}/out"],
            stdout=subprocess.PIPE, text=True, check=True,
        )  # fmt: skip
        return int(done.stdout.split("PEAK ")[1]) / 1024
