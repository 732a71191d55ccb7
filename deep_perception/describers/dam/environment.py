"""The Python environment of the DAM server: creation and checks.

DAM's own code needs a version of transformers that SAM2 cannot use. So its server runs in an
environment of its own, which only `deep_perception models setup-dam` changes.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from deep_perception.checkpoints.catalog import ModelError, megabytes
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import REASON, printable

REQUIREMENTS = Path(__file__).parents[2] / "dam_server" / "requirements.txt"
# A file in the environment that says what was installed. It is written last.
RECORD = "deep_perception_dam.json"
OLDEST, NEWEST = (3, 10), (3, 13)
# The wheel of torch with CUDA and its unpacked files; the build for the CPU needs a quarter.
NEEDED_BYTES = 8 * 10**9

_LIBRARY_PARTS = (
    "pyvenv.cfg", "lib", "lib/python3*", "lib/python3*/site-packages",
    "lib/python3*/site-packages/*.pth", "lib/python3*/site-packages/sitecustomize.py",
)  # fmt: skip

# Bytes of RECORD, which has one line.
_RECORD_LIMIT = 1 << 16

# What a process may inherit: where things are, how it is to speak, and how torch, its GPU and its
# threads behave. Nothing else: the caller's variables are of another Python (ROS, a virtual
# environment), or secrets, which the code of a checkpoint could read.
_INHERITED = re.compile(
    "PATH|HOME|USER|LOGNAME|SHELL|TERM|COLUMNS|LINES|TZ|LANG|LANGUAGE|LC_.*|TMPDIR|TEMP|TMP|XDG_.*|"
    "SYSTEMROOT|SYSTEMDRIVE|WINDIR|COMSPEC|PATHEXT|USERPROFILE|APPDATA|LOCALAPPDATA|PROGRAMDATA|"
    "NUMBER_OF_PROCESSORS|PROCESSOR_.*|(?:CUDA|CUBLAS|CUDNN|NCCL|NVIDIA|GPU|HIP|ROCR|HSA)_?.*|"
    "(?:TORCH|PYTORCH|TRITON|BNB|BITSANDBYTES|TRANSFORMERS|TOKENIZERS|HF)_.*|TORCHINDUCTOR_.*|"
    "(?:OMP|MKL|OPENBLAS|KMP|GOMP|MALLOC)_.*|GLIBC_TUNABLES|PYTHON(?:UNBUFFERED|"
    "DONTWRITEBYTECODE|FAULTHANDLER|UTF8|IOENCODING|WARNINGS|PYCACHEPREFIX)"
)
# What pip needs too: its settings, and the way to its index.
_INHERITED_BY_PIP = re.compile(
    "PIP_.*|(?:HTTPS?|ALL|NO)_PROXY|SSL_CERT_(?:FILE|DIR)|REQUESTS_CA_BUNDLE|CURL_CA_BUNDLE|NETRC"
)
_SECRET = re.compile("TOKEN(?!IZERS)|SECRET|PASS|KEY|CREDENTIAL|AUTH")

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
    path = Path(environment)
    with contextlib.suppress(RuntimeError):  # There is no such user.
        path = path.expanduser()
    return path.absolute()


def python_of(environment: Path) -> Path:
    """Return the path of the environment's interpreter, which may not exist."""
    return environment / ("Scripts/python.exe" if os.name == "nt" else "bin/python")


def server_variables(token_variable: str) -> dict[str, str]:
    """Return the environment variables of the server: those that it needs, and its token."""
    kept = {
        name: value
        for name, value in os.environ.items()
        if _INHERITED.fullmatch(name.upper()) and not _SECRET.search(name.upper())
    }
    kept |= {name: os.environ[name] for name in (token_variable,) if name in os.environ}
    return kept | {"PYTHONNOUSERSITE": "1"}


def _setup_variables() -> dict[str, str]:
    """Return the environment variables of the commands that make the environment."""
    for_pip = {
        name: value
        for name, value in os.environ.items()
        if _INHERITED_BY_PIP.fullmatch(name.upper())
    }
    return server_variables("") | for_pip


def problem_of(environment: Path) -> str:
    """Return why no server can be started from an environment, "" if it can be started.

    This starts no process.
    """
    python = python_of(environment)
    if not python.is_file():
        return f"DAM has no environment at {environment}"
    # What Python runs or imports at its start, and the folders that lead there.
    libraries = (found for part in _LIBRARY_PARTS for found in environment.glob(part))
    for path in (environment, python.parent, python, *libraries):
        if _is_writable_by_all(path):
            return (
                f"DAM's environment is not used, because every user of this machine can change "
                f"{path} (chmod o-w {path}, if you know that nobody did)"
            )
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
        _run([python, "-I", "-m", "venv", str(environment)], "the virtual environment", _VENV_HINT)
        pip = [str(python_of(environment)), "-I", "-m", "pip", "--disable-pip-version-check"]
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
        done = _output([python, "-I", "-c", code])
        major, minor = (int(part) for part in done.stdout.split())
    except (OSError, ValueError) as error:
        raise ModelError(
            f"{python} is not a Python interpreter ({printable(error, REASON)})"
        ) from error
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
        done = _output([str(python_of(environment)), "-I", "-c", _PRINT_VERSIONS])
    except OSError as error:
        raise ModelError(f"{environment}: its Python cannot be started ({error})") from error
    if done.returncode:
        reason = printable((done.stderr.strip().splitlines() or ["no reason given"])[-1], REASON)
        raise ModelError(
            f"{environment}: its libraries do not work ({reason}); delete the folder and run the "
            "command again"
        )
    try:
        versions = read_json(done.stdout.splitlines()[-1])
        return {name: printable(versions[name]) for name in (*_LIBRARIES, "device")}
    except (IndexError, TypeError, KeyError, UntrustedError) as error:
        raise ModelError(
            f"{environment}: its Python does not tell its versions ({printable(error)}); delete "
            "the folder and run the command again"
        ) from None


def _run(command: list[str], what: str, hint: str) -> None:
    process = subprocess.Popen(command, env=_setup_variables(), stdin=subprocess.DEVNULL)
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
        env=_setup_variables(),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        check=False,
    )


def _digest() -> str:
    return hashlib.sha256(REQUIREMENTS.read_bytes()).hexdigest()


def _record(environment: Path) -> Mapping[str, Any] | None:
    try:
        record = read_json(read_file(environment / RECORD, _RECORD_LIMIT))
    except OSError:
        return None
    except UntrustedError:
        return {}  # The file was made here and not written to its end.
    return record if isinstance(record, dict) else {}


def _write_record(environment: Path, record: Mapping[str, str]) -> None:
    draft = environment / (RECORD + ".new")
    draft.unlink(missing_ok=True)  # It may be a link to a file of the user.
    draft.write_text(json.dumps(record) + "\n", encoding="utf-8")
    draft.replace(environment / RECORD)


def _is_writable_by_all(path: Path) -> bool:
    if os.name == "nt":
        return False  # The mode says nothing of who may write.
    mode = path.stat().st_mode
    # In a folder with the sticky bit, as in /tmp, only the owner of a file can replace it.
    return bool(mode & stat.S_IWOTH) and not (stat.S_ISDIR(mode) and mode & stat.S_ISVTX)
