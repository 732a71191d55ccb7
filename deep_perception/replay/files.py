"""Files and folders that are there whole or not at all; one process at a time writes them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import filelock


class InUse(ValueError):
    """Another process writes into the folder."""


def lock(folder: Path) -> Any:
    """Take a folder, which is made, for this process alone; ``release()`` gives it back.

    It is free again when the process dies. Raises InUse.
    """
    folder.mkdir(parents=True, exist_ok=True)
    taken = filelock.FileLock(folder / "lock")
    try:
        taken.acquire(timeout=0)
    except filelock.Timeout:
        raise InUse(
            f"{folder.parent}: another process is writing there; wait for it, or "
            "choose another --output"
        ) from None
    return taken


def write_file(path: Path, data: bytes) -> None:
    """Replace a file: after a crash, a power cut too, there is the old one or the new one."""
    part = path.with_name(f"{path.name}.part")
    with part.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def put_in_place(made: Path, place: Path) -> None:
    """Move a file or folder to where another one may be.

    Of an interruption between the two the old one may be left beside ``made``: see ``put_back``.
    """
    old = _old(made)
    put_back(made, place)
    remove(old)
    try:
        if made.is_dir() and place.exists():
            # A folder that is not empty cannot be replaced in one step.
            place.replace(old)
        made.replace(place)
    finally:
        put_back(made, place)
    remove(old)


def put_back(made: Path, place: Path) -> None:
    """The old one to its place, if ``put_in_place`` was killed before the new one was there."""
    old = _old(made)
    if old.exists() and not os.path.lexists(place):
        old.replace(place)


def _old(made: Path) -> Path:
    return made.with_name(f"{made.name}.old.part")


def remove(path: Path) -> None:
    """A file, or a folder with all that is in it; nothing when it is not there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
