"""The files of a recording, each opened by the format that its first bytes show."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import yaml

from deep_perception.replay.recordings.storage import (
    MAX_NAMES,
    METADATA,
    BagError,
    Held,
    StorageFile,
    mcap_records,
    packing,
    ros1_files,
    sqlite_files,
)
from deep_perception.replay.recordings.storage import metadata as metadata_file
from deep_perception.replay.recordings.storage.mcap_files import McapFile
from deep_perception.untrusted.text import LINE, listed, printable

_STORED = re.compile(r".*\.(mcap|db3)(\.zstd?)?", re.IGNORECASE)
EXPECTED = "expected a folder of rosbag2, or an .mcap, .db3 or .bag file"


def files_of(path: Path, warn: Callable[[str], None]) -> list[Path]:
    """Return the files that contain the messages of a recording. Raises BagError."""
    if not path.exists():
        raise BagError(f"{path}: there is no such file or folder; {EXPECTED}")
    if not path.is_dir():
        return [path]
    names = _read_metadata(path / METADATA, warn)
    existing = [path / name for name in names if _is_file(path / name)]
    found = {file.name for file in existing}
    if missing := [name for name in names if name not in found]:
        verb = "is" if len(missing) == 1 else "are"
        warn(f"{listed(missing, MAX_NAMES)} of {METADATA} {verb} missing")
    existing = existing or _stored(path)
    if not existing:
        raise BagError(
            f"{path}: there is no recording in this folder; {EXPECTED}; for images: "
            "deep_perception analyze"
        )
    return existing


def _read_metadata(metadata: Path, warn: Callable[[str], None]) -> list[str]:
    """Return the files that the metadata names, relative to its folder, as rosbag2 finds them."""
    if not metadata.exists():
        if stored := _stored(metadata.parent):
            files = "the file" if len(stored) == 1 else f"the {len(stored)} files"
            read = "is" if len(stored) == 1 else "are"
            warn(f"there is no {METADATA}, as after a crash; {files} in the folder {read} read")
        return []
    try:
        return metadata_file.file_names(metadata)
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = printable(" ".join(str(error).split()), LINE)
        warn(f"{METADATA} cannot be read ({reason}); the files in the folder are read")
        return []


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # A name that is too long, or has a NUL.
        return False


def _stored(folder: Path) -> list[Path]:
    """Return the files of rosbag2 in a folder, in the order of their numbers."""
    files = (file for file in folder.iterdir() if _STORED.fullmatch(file.name))
    return sorted((file for file in files if file.is_file()), key=_in_natural_order)


def open_file(
    path: Path, scratch: Callable[[], Path], held: Held, original: Path | None = None
) -> StorageFile:
    """Open a file of any name; ``scratch`` creates a folder for copies. Raises BagError.

    ``held`` is what the files of the recording have in memory, and ``original`` the file of the
    recording of which ``path`` is a copy.
    """
    is_copy, original = original is not None, original or path
    try:
        with path.open("rb") as opened:
            start = opened.read(16)
    except OSError as error:
        raise BagError(f"{original}: cannot be read ({error.strerror or error})") from None
    if not start:
        raise BagError(f"{original}: the file is empty")
    if start.startswith(packing.MAGIC) and not is_copy:
        return open_file(packing.decompress_file(path, scratch()), scratch, held, original)
    if start.startswith(mcap_records.MAGIC):
        return McapFile(path, original, held)
    if start.startswith(sqlite_files.MAGIC):
        return sqlite_files.SqliteFile(path, original, scratch)
    if start.startswith(ros1_files.MAGIC):
        return ros1_files.Ros1File(path, original, held)
    raise BagError(
        f"{original}: this file is no recording; {EXPECTED}; for images: deep_perception analyze"
    )


def _in_natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", path.name)
    numbers = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return numbers, path.name
