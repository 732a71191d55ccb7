"""Files and folders that are replaced as a whole, and folders that one process at a time uses."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import filelock

from deep_perception.untrusted.places import make_way


class FolderInUse(ValueError):
    """Another process writes into the folder."""


@contextmanager
def lock_folder(folder: Path) -> Iterator[None]:
    """Create a folder where it is missing, and reserve it for this process.

    The lock is released when the process dies. Raises FolderInUse, also for a link, which may come
    with a folder of somebody else: nothing is written through it.
    """
    for path in (folder, folder / "lock"):
        if path.is_symlink():
            raise FolderInUse(f"{path}: is a link; move it away, or choose another --output")
    folder.mkdir(parents=True, exist_ok=True)
    make_way(folder / "lock")
    lock = filelock.FileLock(folder / "lock")
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        raise FolderInUse(
            f"{folder.parent}: another process is writing there; wait for it, or "
            "choose another --output"
        ) from None
    try:
        yield
    finally:
        lock.release()


def write_file(path: Path, data: bytes) -> None:
    """Replace a file; after a crash or a power cut either the old or the new file exists."""
    part = path.with_name(f"{path.name}.part")
    # What is there is left by a crash, or is a link of somebody else.
    remove(part)
    with part.open("xb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    part.replace(path)


def replace_path(new: Path, target: Path) -> None:
    """Move the file or folder ``new`` to ``target``, which may exist.

    An interruption may leave the old target beside ``new``; ``restore_old`` moves it back.
    """
    old = _old(new)
    restore_old(new, target)
    remove(old)
    try:
        if new.is_dir() and target.exists():
            # The operating system cannot replace a folder that is not empty in one step.
            target.replace(old)
        new.replace(target)
    finally:
        restore_old(new, target)
    remove(old)


def restore_old(new: Path, target: Path) -> None:
    """Move the old target back if ``replace_path`` was killed before the new one was in place."""
    old = _old(new)
    if old.exists() and not os.path.lexists(target):
        old.replace(target)


def _old(new: Path) -> Path:
    return new.with_name(f"{new.name}.old.part")


def remove(path: Path) -> None:
    """Remove a file or a folder with its content, if it exists."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)
