"""Check whether a checkpoint is what was downloaded, because its Python files are executed.

The download compared every checksum. Here all sizes are compared again, which finds files that were
cut or replaced, and the checksum of every smaller file: code, configurations, the tokenizer. What
was compared is what is loaded, from a private folder: a file that is changed, or added, after that
is not.
"""

from __future__ import annotations

import hashlib
from pathlib import Path, PurePosixPath

from deep_perception.dam_server.errors import LoadError
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.json_reader import LIMIT, read_json
from deep_perception.untrusted.model_files import check_safetensors
from deep_perception.untrusted.text import REASON, printable

# deep_perception/checkpoints/record.py writes this file and cannot be imported in this environment.
LOCK = "models.lock.json"
FETCH = "deep_perception models fetch dam"
# Larger files are weights, whose size is compared and whose header is checked.
READ_BYTES = 16 * 2**20
# No weights of DAM. Whoever loads a pickle runs what is in it.
_PICKLES = (".bin", ".pt", ".pth", ".ckpt", ".pkl", ".pickle")

Files = dict[str, tuple[int, str]]


def checked(folder: Path, private: Path) -> tuple[Path, bool]:
    """Return the folder to load, and whether its files were compared with those of a lock file.

    It is a folder of the same name in ``private``, with the files that the lock file names. Without
    a lock file it is the checkpoint itself. Raises LoadError.
    """
    if not (folder / "config.json").is_file():
        what = "has no config.json" if folder.is_dir() else "does not exist"
        raise LoadError(f"the checkpoint {folder} {what}; get it with: {FETCH}")
    try:
        if not (folder / LOCK).exists():
            _check_weights(folder, sorted(folder.rglob("*.safetensors")))
            return folder, False
        files = _read_lock(folder)
        _refuse_foreign_code(folder, files)
        target = private / folder.name
        for name, (size, digest) in files.items():
            _put(folder, name, size, digest, target)
        _check_weights(folder, [target / name for name in files if name.endswith(".safetensors")])
        return target, True
    except OSError as error:
        raise LoadError(f"{folder} cannot be read: {error}") from error


def _read_lock(folder: Path) -> Files:
    lock = folder / LOCK
    try:
        content = read_json(read_file(lock, LIMIT))
        files = {
            str(name): (int(file["size"]), str(file["sha256"]))
            for name, file in content["files"].items()
        }
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        reason = printable(error, REASON)
        raise LoadError(f"{lock} is not readable ({reason}); {_again(folder)}") from error
    for name in files:
        path = PurePosixPath(name)
        if path.is_absolute() or ".." in path.parts or not path.parts or "\0" in name:
            raise LoadError(f"{lock} names {printable(name)}, outside of the checkpoint")
    return files


def _put(folder: Path, name: str, size: int, digest: str, target: Path) -> None:
    """Copy a file that has the expected checksum, or link to large weights of the expected size."""
    path, copy = folder / name, target / name
    if not path.is_file():
        raise LoadError(f"{path} is missing; {_again(folder)}")
    found = path.stat().st_size
    if found != size:
        raise LoadError(f"{path} has {found} bytes, expected {size}; {_again(folder)}")
    if path.suffix in _PICKLES:
        return
    copy.parent.mkdir(parents=True, exist_ok=True)
    if size > READ_BYTES:
        try:
            copy.symlink_to(path.resolve())
        except OSError:  # Windows reserves symbolic links to some users.
            copy.hardlink_to(path.resolve())
        return
    data = _read(path, size)
    if hashlib.sha256(data).hexdigest() != digest:
        what = "code that is" if path.suffix == ".py" else "a file that is"
        raise LoadError(f"{path} is {what} not as downloaded; {_again(folder)}")
    copy.write_bytes(data)


def _refuse_foreign_code(folder: Path, files: Files) -> None:
    for path in sorted(folder.rglob("*.py")):
        if path.relative_to(folder).as_posix() not in files:
            raise LoadError(f"{path} is code that {LOCK} does not name; remove it")


def _check_weights(folder: Path, paths: list[Path]) -> None:
    for path in paths:
        try:
            check_safetensors(path)
        except UntrustedError as error:
            raise LoadError(
                f"{folder} cannot be loaded: {path.name} is not usable, {error}; {_again(folder)}"
            ) from error


def _read(path: Path, size: int) -> bytes:
    try:
        return read_file(path, size)
    except UntrustedError as error:
        raise LoadError(str(error)) from error


def _again(folder: Path) -> str:
    return f"remove {folder} and get it again with: {FETCH}"
