"""Models on disk: which files are there, whether they are complete and unchanged, and removal.

``checkpoints/<name>/`` holds the files of a model and, once all were checked, `models.lock.json`
with the revision, sizes and SHA-256. A partial file has another name (`….part`), so that it cannot
be loaded.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from deep_perception.checkpoints.catalog import Model, ModelError, ModelFile, megabytes
from deep_perception.checkpoints.record import (
    BUSY,
    LOCK,
    PART,
    Authority,
    is_safe,
    matches_any,
    read_lock,
    read_record,
    same_bytes,
)

State = Literal["complete", "unverified", "partial", "broken", "absent"]


@dataclass(frozen=True, kw_only=True)
class OnDisk:
    """The files of one model on disk; ``unverified``: all are there, but have no record."""

    model: Model
    path: Path
    state: State
    size: int
    revision: str
    checked_against: Authority
    """The origin of the checksums in the record: the pin, the hub, or "" without a record."""
    problems: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Removed:
    """What ``remove`` did: the bytes that it freed, and the foreign files that it left."""

    path: Path
    size: int
    left: tuple[str, ...]
    was_link: bool


def inspect(model: Model, folder: Path) -> OnDisk:
    """Check names and sizes of a model's files, which is quick."""
    return _check(model, folder, by_bytes=False)


def verify(model: Model, folder: Path) -> OnDisk:
    """Check the checksums of a model's files."""
    return _check(model, folder, by_bytes=True)


def matches(path: Path, file: ModelFile) -> bool:
    """Whether a file is on disk and has the expected checksum."""
    return path.is_file() and not _difference(path, file, by_bytes=True)


def parts(path: Path) -> list[Path]:
    """Return the partial files in a model's folder."""
    return sorted(path.rglob("*" + PART)) if path.is_dir() else []


def remove(model: Model, folder: Path) -> Removed:
    """Delete a model's files, and its folder if it is empty then. Raises ModelError.

    Only files that a download creates are deleted, by name and without following links, so that
    nothing outside of ``folder`` is deleted, and no file that the user put there.
    """
    path = folder / model.name
    try:
        if path.is_symlink():
            path.unlink()
            return Removed(path=path, size=0, left=(), was_link=True)
        if not path.is_dir():
            raise ModelError(f"{path}: there is nothing to remove")
        size = 0
        names = _our_names(path, model)
        for entry in _entries(path):
            name = entry.relative_to(path).as_posix()
            if name in names or name.endswith(PART):
                size += entry.lstat().st_size
                entry.unlink()
                remove_empty(path, [name])
        left = tuple(sorted(entry.name for entry in path.iterdir()))
        if not left:
            path.rmdir()
    except OSError as error:
        raise ModelError(f"{path}: cannot be removed ({error.strerror or error})") from error
    return Removed(path=path, size=size, left=left, was_link=False)


def remove_empty(path: Path, names: Iterable[str]) -> None:
    """Remove the empty folders of these files below a model's folder. Raises OSError."""
    for name in names:
        folder = (path / name).parent
        while folder != path and folder.is_dir() and not any(folder.iterdir()):
            folder.rmdir()
            folder = folder.parent


def _check(model: Model, folder: Path, *, by_bytes: bool) -> OnDisk:
    path = folder / model.name
    try:
        return _check_folder(model, path, by_bytes=by_bytes)
    except OSError as error:
        raise ModelError(f"{path}: cannot be read ({error.strerror or error})") from error


def _check_folder(model: Model, path: Path, *, by_bytes: bool) -> OnDisk:
    problems: list[str] = []
    locked, record = (path / LOCK).exists(), None
    try:
        record = read_lock(path, model)
    except ValueError:
        problems.append(f"{LOCK} is not readable")
    files = record.files if record else model.files or _unrecorded(model, path)
    missing = [file.name for file in files if not (path / file.name).is_file()]
    wrong = [
        difference
        for file in files
        if file.name not in missing
        and (difference := _difference(path / file.name, file, by_bytes=by_bytes))
    ]
    problems += wrong + [f"{name} is missing" for name in missing]
    if not model.files and not record:
        names = [file.name for file in files]
        lacking = [
            pattern
            for pattern in model.needed
            if not any(matches_any(name, (pattern,)) for name in names)
        ]
        problems += [f"{pattern} is missing" for pattern in lacking]
    partial = parts(path)
    state: State
    if not locked and len(missing) == len(files) and not partial:
        state, problems = "absent", []
    elif not problems:
        state = "complete" if locked else "unverified"
    else:
        state = "broken" if locked or wrong else "partial"
    kept = [path / file.name for file in files if file.name not in missing]
    return OnDisk(
        model=model,
        path=path,
        state=state,
        size=sum(item.stat().st_size for item in kept + partial),
        revision=record.revision if record else model.revision,
        checked_against=record.checked_against if record else "",
        problems=tuple(problems),
    )


def _unrecorded(model: Model, path: Path) -> tuple[ModelFile, ...]:
    """Return the files of a model without pin and record, with their present sizes."""
    found = ((entry, entry.relative_to(path).as_posix()) for entry in _entries(path))
    return tuple(
        ModelFile(name=name, size=entry.stat().st_size)
        for entry, name in found
        if is_safe(name) and matches_any(name, model.wanted) and entry.is_file()
    )


def _difference(path: Path, file: ModelFile, *, by_bytes: bool) -> str:
    size = path.stat().st_size
    if size != file.size:
        return f"{file.name} has {megabytes(size)} ({size} bytes) instead of {file.size}"
    if by_bytes and (file.sha256 or file.git_sha1) and not same_bytes(path, file):
        return f"{file.name} differs from the published file (checksum)"
    return ""


def _our_names(path: Path, model: Model) -> set[str]:
    names = {file.name for file in model.files} | {LOCK, BUSY}
    # A download that was killed while it renamed the files leaves only the draft of the record.
    for record_path in (path / LOCK, path / (LOCK + PART)):
        try:
            record = read_record(record_path, model)
        except ValueError:
            continue
        names |= {file.name for file in record.files} if record else set()
    return names


def _entries(path: Path) -> list[Path]:
    """Return all files and links below a folder, without following links."""
    return sorted(_walk(path))


def _walk(path: Path) -> Iterator[Path]:
    for folder, folders, files in os.walk(path):
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        yield from (Path(folder) / name for name in [*links, *files])
