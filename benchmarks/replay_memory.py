"""Most memory of a replay of an hour, against that of one of ten minutes: nothing adds up."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from benchmarks.harness import Measurement
from synthetic.recordings import scenes, write

# A picture a second; the camera sees something else every 20 s.
RATE_HZ, CUT_EVERY, WIDTH, HEIGHT = 1.0, 20, 320, 240
SHORT_S, TIMES = 600, 6
# Linux: of itself only. What getrusage says begins with the memory of the parent.
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
    """Megabytes, each in a process of its own, with all outputs and datasets."""
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
