"""The Python environment of the DAM server: creation and checks.

DAM's own code needs a version of transformers that SAM2 cannot use. So its server runs in an
environment of its own, which only `deep_perception models setup-dam` changes.
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
# A file in the environment that says what was installed. It is written last.
RECORD = "deep_perception_dam.json"
OLDEST, NEWEST = (3, 10), (3, 13)
# The wheel of torch with CUDA and its unpacked files; the build for the CPU needs a quarter.
NEEDED_BYTES = 8 * 10**9

# Variables of the caller's environment (ROS, a virtual environment, ROS from wheels) that would
# make another Python load the libraries of the caller.
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

_PRINT_VERSIONS = """
import json, aiohttp, torch, transformers
cuda = torch.cuda.is_available()
print(json.dumps({
    "torch": torch.__version__, "transformers": transformers.__version__,
    "aiohttp": aiohttp.__version__, "device": torch.cuda.get_device_name() if cuda else "",
}))
"""


def path_of(environment: str | Path) -> Path:
    """Return the absolute path of the folder in a setting, in which ``~`` is the user's home."""
    return Path(environment).expanduser().absolute()


def python_of(environment: Path) -> Path:
    """Return the path of the environment's interpreter, which may not exist."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def clean_variables() -> dict[str, str]:
    """Return the environment variables without those that another Python must not inherit."""
    kept = {name: value for name, value in os.environ.items() if name not in _NOT_INHERITED}
    return kept | {"PYTHONNOUSERSITE": "1"}


def problem_of(environment: Path) -> str:
    """Return why no server can be started from an environment, "" if it can be started.

    This starts no process.
    """
    if not python_of(environment).is_file():
        return f"DAM has no environment at {environment}"
    record = _record(environment)
    # An environment that the user made has no record. The server itself checks its libraries.
    if record is not None and record.get("requirements") != _digest():
        finished = record.get("requirements")
        reason = "is of another version of deep_perception" if finished else "is not finished"
        return f"DAM's environment {environment} {reason}"
    return ""


def set_up(environment: Path, python: str, info: Callable[[str], None]) -> None:
    """Create an environment, complete an interrupted one, or update an old one.

    ``info`` gets one line at a time; pip prints its own progress. Raises ModelError with one line
    that says what to do.
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
        info(f"creating {environment}")
        _run([python, "-m", "venv", str(environment)], "the virtual environment", _VENV_HINT)
        pip = [str(python_of(environment)), "-m", "pip", "--disable-pip-version-check"]
        _run([*pip, "install", "--requirement", str(REQUIREMENTS)], "pip", _PIP_HINT)
    versions = _installed_versions(environment)
    _write_record(environment, {"requirements": _digest()})
    info(f"{environment} is ready: " + ", ".join(f"{k} {versions[k]}" for k in _LIBRARIES))
    info(
        f"DAM will run on: {versions['device']}"
        if versions["device"]
        else "there is no CUDA device: DAM needs one (describer.dam.device cpu is for tests only)"
    )


_LIBRARIES = ("torch", "transformers", "aiohttp")
_VENV_HINT = "on Debian and Ubuntu: sudo apt install python3-venv"
_PIP_HINT = "run the same command again to resume"


def _check_python(python: str) -> None:
    code = "import sys; print(*sys.version_info[:2])"
    try:
        done = _output([python, "-c", code])
        major, minor = (int(part) for part in done.stdout.split())
    except (OSError, ValueError) as error:
        raise ModelError(f"{python} is not a Python interpreter ({error})") from error
    if not OLDEST <= (major, minor) <= NEWEST:
        good = ", ".join(
            name
            for number in range(NEWEST[1], OLDEST[1] - 1, -1)
            if (name := shutil.which(f"python3.{number}"))
        )
        raise ModelError(
            f"{python} is Python {major}.{minor}; DAM needs 3.10 to 3.13: name one "
            f"with --python ({good or 'there is none on PATH'})"
        )


def _check_folder(environment: Path) -> None:
    """Raise ModelError for a folder that this command did not make: pip would change its files."""
    if environment.exists() and not environment.is_dir():
        raise ModelError(f"{environment} is a file; --environment needs a folder")
    try:
        occupied = environment.is_dir() and any(environment.iterdir())
    except OSError as error:
        raise ModelError(f"{environment}: {error.strerror or error}") from error
    if occupied and _record(environment) is None:
        raise ModelError(
            f"{environment} is not empty and was not made by this command; name a new folder with "
            "--environment"
        )


def _check_room(environment: Path) -> None:
    used = sum(f.lstat().st_size for f in environment.rglob("*") if not f.is_symlink())
    needed = NEEDED_BYTES - used
    free = shutil.disk_usage(environment).free
    if free < needed:
        raise ModelError(
            f"{environment}: the disk has {megabytes(free)} free and torch with CUDA needs about "
            f"{megabytes(needed)}; name a folder on another disk with --environment"
        )


def _installed_versions(environment: Path) -> dict[str, str]:
    try:
        done = _output([str(python_of(environment)), "-c", _PRINT_VERSIONS])
    except OSError as error:
        raise ModelError(f"{environment}: its Python cannot be started ({error})") from error
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
        process.wait()  # The child got the SIGINT of the terminal too.
        raise ModelError("interrupted; run the same command again to resume") from None
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
        return {}  # The file was made here and not written to its end.
    return record if isinstance(record, dict) else {}


def _write_record(environment: Path, record: Mapping[str, str]) -> None:
    draft = environment / (RECORD + ".new")
    draft.write_text(json.dumps(record) + "\n", encoding="utf-8")
    draft.replace(environment / RECORD)
