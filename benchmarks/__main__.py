"""``make bench`` runs all benchmarks, ``make bench BENCH=<name>`` one; see results.json.

A soak takes half an hour, and runs by its name only.
"""

from __future__ import annotations

import importlib
import json
import os
import platform
import sys
from pathlib import Path

from benchmarks.harness import Measurement

FOLDER = Path(__file__).parent
RESULTS = FOLDER / "results.json"
HELPERS = {"__init__", "__main__", "calls", "harness", "words"}
BY_NAME_ONLY = {"soak_rss"}


def main() -> int:
    """Run the benchmarks that are named, or all; returns 2 for an unknown name."""
    names = sorted({path.stem for path in FOLDER.glob("*.py")} - HELPERS)
    wanted = sys.argv[1:] or [name for name in names if name not in BY_NAME_ONLY]
    unknown = set(wanted) - set(names)
    if unknown:
        sys.stderr.write(f"no benchmark {sorted(unknown)}; expected {', '.join(names)}\n")
        return 2
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in wanted:
        try:
            run = importlib.import_module(f"benchmarks.{name}").run
        except ModuleNotFoundError as error:
            sys.stdout.write(
                f"{name:28} not run: {error}; try DEEP_PERCEPTION_WITH=sam2 make bench\n"
            )
            continue
        measured: Measurement = run()
        _print(measured)
        results[name] = {key: _rounded(value) for key, value in measured.items() if key != "name"}
        results[name]["machine"] = _machine()
        RESULTS.write_text(json.dumps(results, indent=1, sort_keys=True) + "\n")
    return 0


def _print(measured: Measurement) -> None:
    ours, baseline = measured["ours"], measured["baseline"]
    ratio = f"{baseline / ours:.1f} x less" if ours and baseline > ours else ""
    ratio = ratio or (f"{ours / baseline:.1f} x more" if baseline else "")
    sys.stdout.write(
        f"{measured['name']:28} {ours:9.3g} {measured['unit']:14} baseline {baseline:9.3g}  "
        f"{ratio}  ({measured['runs']} runs)\n"
    )


def _rounded(value: object) -> object:
    return float(f"{value:.4g}") if isinstance(value, float) else value


def _machine() -> str:
    return f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"


if __name__ == "__main__":
    sys.exit(main())
