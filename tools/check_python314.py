"""Ask pip whether every runtime dependency of setup.py has a wheel for a Python version.

    python tools/check_python314.py [--version 3.14]

Prints a Markdown table. The exit code is 1 if a dependency has no wheel. pip only reads the index
and the metadata of the wheels; with --dry-run nothing is installed.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest import mock

ROOT = Path(__file__).resolve().parent.parent
TEST_ONLY = "test"


def requirements() -> Mapping[str, Sequence[str]]:
    """Return the requirements of setup.py: those of every install, and those of each extra."""
    source = (ROOT / "setup.py").read_text(encoding="utf-8")
    with mock.patch("setuptools.setup") as setup, mock.patch("pathlib.Path.read_text") as read_text:
        read_text.return_value = ""
        exec(compile(source, "setup.py", "exec"), {})
    given = setup.call_args.kwargs
    extras = {name: lines for name, lines in given["extras_require"].items() if name != TEST_ONLY}
    return {"(always)": given["install_requires"], **extras}


def wheel_for(requirement: str, version: str) -> tuple[str, str]:
    """Return the version and the file name of the wheel that pip would install, "" if none."""
    tag = "cp" + version.replace(".", "")
    with tempfile.TemporaryDirectory() as folder:
        report = Path(folder) / "report.json"
        done = subprocess.run(
            [
                *(sys.executable, "-m", "pip", "--quiet", "install", "--dry-run", "--no-deps"),
                *("--ignore-installed", "--only-binary", ":all:", "--target", folder),
                *("--python-version", version, "--implementation", "cp", "--abi", tag),
                *("--abi", "abi3", "--abi", "none"),
                *("--platform", "manylinux_2_28_x86_64", "--platform", "manylinux_2_17_x86_64"),
                *("--platform", "manylinux2014_x86_64", "--report", str(report), requirement),
            ],
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode:
            return "", (done.stderr.strip().splitlines() or ["pip failed"])[-1]
        (found,) = json.loads(report.read_text(encoding="utf-8"))["install"]
    return found["metadata"]["version"], found["download_info"]["url"].rpartition("/")[2]


def main() -> int:
    """Print the table; 1 if a dependency has no wheel."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--version", default="3.14", help="the Python version (default 3.14)")
    version = parser.parse_args().version
    wanted: dict[str, list[str]] = {}
    for extra, lines in requirements().items():
        for line in lines:
            wanted.setdefault(line, []).append(extra)
    missing = 0
    sys.stdout.write(f"| requirement | extra | wheel for Python {version} |\n| --- | --- | --- |\n")
    for requirement, extras in wanted.items():
        found, detail = wheel_for(requirement, version)
        missing += not found
        answer = f"{found}: `{detail}`" if found else f"**none** ({detail})"
        sys.stdout.write(f"| `{requirement}` | {', '.join(extras)} | {answer} |\n")
        sys.stdout.flush()
    return 1 if missing else 0


if __name__ == "__main__":
    sys.exit(main())
