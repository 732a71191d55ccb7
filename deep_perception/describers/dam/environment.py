"""The Python environment of the DAM server: made, checked and named here.

DAM's own code needs a transformers that nothing else of this package can live with. So its server
runs in an environment of its own, which only `deep_perception models setup-dam` writes to.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deep_perception.checkpoints.catalog import ModelError, megabytes

REQUIREMENTS = Path(__file__).parents[2] / "dam_server" / "requirements.txt"
# In the environment: what was installed, written last, and read by nobody but this module.
RECORD = "deep_perception_dam.json"
OLDEST, NEWEST = (3, 10), (3, 13)
# torch with CUDA unpacked and on its way; its build for the CPU alone would do with a quarter.
NEEDED_BYTES = 8 * 10**9

# What belongs to the environment of the caller (ROS, a virtual environment, the bootstrap of ROS
# from wheels) and would make another Python load the caller's libraries.
_NOT_INHERITED = (
    "DEEP_PERCEPTION_ENV",
    "LD_LIBRARY_PATH",
    "LD_PRELOAD",
    "PYTHONHOME",
    "PYTHONPATH",
    "PYTHONSTARTUP",
    "VIRTUAL_ENV",
    "_ROS_WHEELS_BOOTSTRAP_COMPLETE",
)

_ABOUT = """
import json, aiohttp, torch, transformers
cuda = torch.cuda.is_available()
print(json.dumps({
    "torch": torch.__version__, "transformers": transformers.__version__,
    "aiohttp": aiohttp.__version__, "device": torch.cuda.get_device_name() if cuda else "",
}))
"""


def path_of(environment: str | Path) -> Path:
    """The folder that a setting names. ``~`` is the user's home."""
    return Path(environment).expanduser().absolute()


def python_of(environment: Path) -> Path:
    """The environment's interpreter, there or not."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def clean_variables() -> dict[str, str]:
    """Our variables without those that another Python must not inherit."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return kept | {"PYTHONNOUSERSITE": "1"}


def problem_of(environment: Path) -> str:
    """Why no server can be started from an environment ("" when it can): quick."""
    if not python_of(environment).is_file():
        return f"DAM has no environment: nothing at {environment}"
    record = _record(environment)
    # Somebody's own environment has no record: then its imports are the server's to complain of.
    if record is not None and record.get("requirements") != _digest():
        made = record.get("requirements")
        why = "is of another version of deep_perception" if made else "is not finished"
        return f"DAM's environment {environment} {why}"
    return ""


def set_up(environment: Path, python: str, say: Callable[[str], None]) -> None:
    """Make an environment, or finish or renew it; goes on where it was interrupted.

    Prints pip's own progress. Raises ModelError, one line that says what to do.
    """
    _check_python(python)
    _check_folder(environment)
    if problem_of(environment) or _record(environment) is None:
        try:
            environment.mkdir(parents=True, exist_ok=True)
            _check_room(environment)
            _write_record(environment, {"requirements": ""})
        except OSError as error:
            raise ModelError(f"{environment}: {error.strerror or error}") from error
        say(f"making {environment}")
        _run([python, "-m", "venv", str(environment)], "the virtual environment", _VENV_HINT)
        pip = [str(python_of(environment)), "-m", "pip", "--disable-pip-version-check"]
        _run([*pip, "install", "--requirement", str(REQUIREMENTS)], "pip", _PIP_HINT)
    about = _about(environment)
    _write_record(environment, {"requirements": _digest()})
    say(f"{environment} is ready: " + ", ".join(f"{k} {about[k]}" for k in _LIBRARIES))
    say(
        f"DAM will run on: {about['device']}"
        if about["device"]
        else "no CUDA device is here: DAM needs one (describer.dam.device cpu is for trying only)"
    )


_LIBRARIES = ("torch", "transformers", "aiohttp")
_VENV_HINT = "on Debian and Ubuntu: sudo apt install python3-venv"
_PIP_HINT = "the same command goes on from there"


def _check_python(python: str) -> None:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = _output([python, "-c", code])
        major, minor = (int(part) for part in done.stdout.split())
    except (OSError, ValueError) as error:
        raise ModelError(f"{python}: is not a Python interpreter ({error})") from error
    if not OLDEST <= (major, minor) <= NEWEST:
        good = ", ".join(
            name
            for number in range(NEWEST[1], OLDEST[1] - 1, -1)
            if (name := shutil.which(f"python3.{number}"))
        )
        raise ModelError(
            f"{python} is Python {major}.{minor}; DAM needs 3.10 to 3.13: name one "
            f"with --python ({good or 'none is on PATH'})"
        )


def _check_folder(environment: Path) -> None:
    """pip in a folder of somebody else would change what is there."""
    if environment.exists() and not environment.is_dir():
        raise ModelError(f"{environment}: is a file; --environment wants a folder")
    try:
        occupied = environment.is_dir() and any(environment.iterdir())
    except OSError as error:
        raise ModelError(f"{environment}: {error.strerror or error}") from error
    if occupied and _record(environment) is None:
        raise ModelError(
            f"{environment}: is in use and was not made by this command; name a new folder with "
            "--environment"
        )


def _check_room(environment: Path) -> None:
    there = sum(f.lstat().st_size for f in environment.rglob("*") if not f.is_symlink())
    needed = NEEDED_BYTES - there
    free = shutil.disk_usage(environment).free
    if free < needed:
        raise ModelError(
            f"{environment}: the disk has {megabytes(free)} free and torch with CUDA needs about "
            f"{megabytes(needed)}; name a folder on another disk with --environment"
        )


def _about(environment: Path) -> dict[str, str]:
    try:
        done = _output([str(python_of(environment)), "-c", _ABOUT])
    except OSError as error:
        raise ModelError(f"{environment}: its Python does not start ({error})") from error
    if done.returncode:
        reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
        raise ModelError(
            f"{environment}: its libraries do not work ({reason}); delete the folder and run the "
            "command again"
        )
    return dict(json.loads(done.stdout.splitlines()[-1]))


def _run(command: list[str], what: str, hint: str) -> None:
    process = subprocess.Popen(command, env=clean_variables(), stdin=subprocess.DEVNULL)
    try:
        status = process.wait()
    except KeyboardInterrupt:
        process.wait()  # Ctrl-C reached it too
        raise ModelError("interrupted; the same command goes on from there") from None
    if status:
        raise ModelError(f"{what} ended with status {status}, see above; {hint}")


def _output(command: list[str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=clean_variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _digest() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def _record(environment: Path) -> Mapping[str, Any] | None:
    try:
        record = json.loads((environment / RECORD).read_text(encoding="utf-8"))
    except OSError:
        return None
    except ValueError:
        return {}  # cut in the middle: ours, and not finished
    return record if isinstance(record, dict) else {}


def _write_record(environment: Path, record: Mapping[str, str]) -> None:
    draft = environment / (RECORD + ".new")
    draft.write_text(json.dumps(record) + "\n", encoding="utf-8")
    draft.replace(environment / RECORD)
