"""Models on disk: what is there, whether it is whole and unchanged, and taking it away.

``checkpoints/<name>/`` holds a model's files and, once all were checked, `models.lock.json`: the
revision, sizes and SHA-256. A file on its way has another name (`….part`), so that a half download
cannot be loaded.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from deep_perception.model_catalog import Model, ModelError, ModelFile, megabytes

LOCK = "models.lock.json"
PART = ".part"
BUSY = ".fetching.lock"

State = Literal["complete", "unverified", "partial", "broken", "absent"]


@dataclass(frozen=True, kw_only=True)
class OnDisk:
    """What is on disk of one model; `unverified`: all there, but not checked by us."""

    model: Model
    path: Path
    state: State
    size: int
    revision: str
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What `remove` did: bytes freed, and what it left because it is not the model's."""

    path: Path
    size: int
    left: tuple[str, ...]
    was_link: bool


def inspect(model: Model, folder: Path) -> OnDisk:
    """By names and sizes alone: quick."""
    return _look(model, folder, by_bytes=False)


def verify(model: Model, folder: Path) -> OnDisk:
    """By checksum of every byte."""
    return _look(model, folder, by_bytes=True)


def matches(path: Path, file: ModelFile) -> bool:
    """Whether a file is on disk with exactly the expected bytes."""
    return path.is_file() and not _difference(path, file, by_bytes=True)


def write_lock(
    path: Path, model: Model, revision: str, files: tuple[ModelFile, ...], *, pinned: bool
) -> None:
    """Record what was checked; from here on the model is complete. Raises OSError."""
    record = {
        "model": model.name,
        "repo": model.repo,
        "revision": revision,
        "checked_against": "pin" if pinned else "hub",
        "licence": model.licence,
        "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in files},
    }
    # Written aside and renamed: a full disk must not leave half a record.
    draft = path / (LOCK + PART)
    draft.write_text(json.dumps(record, indent=2) + "\n", encoding="utf-8")
    draft.replace(path / LOCK)


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError."""
    return _hash(path, hashlib.sha256())


def remove(model: Model, folder: Path) -> Removed:
    """Delete a model's files, and its folder once empty. Raises ModelError.

    Only files that a fetch makes are deleted, by name and without following a link, so nothing
    outside of `folder` can be hit and what somebody else put there stays.
    """
    path = folder / model.name
    try:
        if path.is_symlink():
            path.unlink()
            return Removed(path=path, size=0, left=(), was_link=True)
        if not path.is_dir():
            raise ModelError(f"{path}: there is nothing to remove")
        size = 0
        for entry in sorted(path.iterdir()):
            if _is_ours(entry, model):
                size += entry.lstat().st_size
                entry.unlink()
        left = tuple(sorted(entry.name for entry in path.iterdir()))
        if not left:
            path.rmdir()
    except OSError as error:
        raise ModelError(f"{path}: cannot be removed ({error.strerror or error})") from error
    return Removed(path=path, size=size, left=left, was_link=False)


def _look(model: Model, folder: Path, *, by_bytes: bool) -> OnDisk:
    path = folder / model.name
    try:
        return _look_into(model, path, by_bytes=by_bytes)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error


def _look_into(model: Model, path: Path, *, by_bytes: bool) -> OnDisk:
    locked = (path / LOCK).exists()
    revision, files = model.revision, model.files
    problems: list[str] = []
    if locked:
        try:
            revision, files = _read_lock(path / LOCK, model)
        except (ValueError, KeyError, TypeError, AttributeError):
            problems.append(f"{LOCK} is not readable")
    missing = [file.name for file in files if not (path / file.name).is_file()]
    wrong = [
        difference
        for file in files
        if file.name not in missing
        and (difference := _difference(path / file.name, file, by_bytes=by_bytes))
    ]
    problems += wrong + [f"{name} is missing" for name in missing]
    parts = list(path.glob("*" + PART)) if path.is_dir() else []
    state: State
    if not locked and len(missing) == len(files) and not parts:
        state, problems = "absent", []
    elif not problems:
        state = "complete" if locked else "unverified"
    else:
        state = "broken" if locked or wrong else "partial"
    kept = [path / file.name for file in files if file.name not in missing]
    size = sum(item.stat().st_size for item in kept + parts)
    return OnDisk(
        model=model, path=path, state=state, size=size, revision=revision, problems=tuple(problems)
    )


def _read_lock(path: Path, model: Model) -> tuple[str, tuple[ModelFile, ...]]:
    record = json.loads(path.read_text(encoding="utf-8"))
    revision = str(record["revision"])
    if record["checked_against"] == "pin" and revision == model.revision:
        return revision, model.files  # the catalogue's word is better than a file's on disk
    files = tuple(
        ModelFile(name=Path(name).name, size=int(file["size"]), sha256=str(file["sha256"]))
        for name, file in record["files"].items()
    )
    if not files:
        raise ValueError("no files")
    return revision, files


def _difference(path: Path, file: ModelFile, *, by_bytes: bool) -> str:
    size = path.stat().st_size
    if size != file.size:
        return f"{file.name} has {megabytes(size)} ({size} bytes) instead of {file.size}"
    if by_bytes and not _same_bytes(path, file):
        return f"{file.name} has other bytes than were published (checksum)"
    return ""


def _same_bytes(path: Path, file: ModelFile) -> bool:
    if file.sha256:
        return sha256(path) == file.sha256
    # git's id of a blob: what the hub announces for files that are not in LFS.
    return _hash(path, hashlib.sha1(b"blob %d\0" % file.size)) == file.git_sha1


def _hash(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()


def _is_ours(entry: Path, model: Model) -> bool:
    names = {file.name for file in model.files} | {LOCK, BUSY}
    return (entry.name in names or entry.name.endswith(PART)) and (
        entry.is_symlink() or not entry.is_dir()
    )


def with_digests(path: Path, files: tuple[ModelFile, ...]) -> tuple[ModelFile, ...]:
    """The same files, each with the SHA-256 of what is on disk where none was announced."""
    return tuple(
        file if file.sha256 else replace(file, sha256=sha256(path / file.name)) for file in files
    )
