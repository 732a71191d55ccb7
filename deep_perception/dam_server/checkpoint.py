"""Check whether a checkpoint is what was downloaded, because its Python files are executed.

The download compared every checksum. Here all sizes are compared again, which finds files that were
cut or replaced, and the checksum of every Python file.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path, PurePosixPath

from deep_perception.dam_server.errors import LoadError

# deep_perception/checkpoints/record.py writes this file and cannot be imported in this environment.
LOCK = "models.lock.json"
FETCH = "deep_perception models fetch dam"


def verify(folder: Path) -> bool:
    """Compare a folder with its lock file; return False if it has none. Raises LoadError."""
    if not (folder / "config.json").is_file():
        what = "has no config.json" if folder.is_dir() else "does not exist"
        raise LoadError(f"the checkpoint {folder} {what}; get it with: {FETCH}")
    lock = folder / LOCK
    if not lock.is_file():
        return False
    try:
        files = {
            str(name): (int(file["size"]), str(file["sha256"]))
            for name, file in json.loads(lock.read_text(encoding="utf-8"))["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise LoadError(f"{lock} is not readable ({error}); {_again(folder)}") from error
    try:
        _compare(folder, files)
    except OSError as error:
        raise LoadError(f"{folder} cannot be read: {error}") from error
    return True


def _compare(folder: Path, files: dict[str, tuple[int, str]]) -> None:
    for name, (size, _) in files.items():
        if PurePosixPath(name).is_absolute() or ".." in PurePosixPath(name).parts:
            raise LoadError(f"{folder / LOCK} names {name!r}, outside of the checkpoint")
        path = folder / name
        if not path.is_file():
            raise LoadError(f"{path} is missing; {_again(folder)}")
        if path.stat().st_size != size:
            raise LoadError(
                f"{path} has {path.stat().st_size} bytes, expected {size}; {_again(folder)}"
            )
    for path in sorted(folder.rglob("*.py")):
        name = path.relative_to(folder).as_posix()
        if name not in files:
            raise LoadError(f"{path} is code that {LOCK} does not name; remove it")
        if hashlib.sha256(path.read_bytes()).hexdigest() != files[name][1]:
            raise LoadError(f"{path} is code that is not as downloaded; {_again(folder)}")


def _again(folder: Path) -> str:
    return f"remove {folder} and get it again with: {FETCH}"
