"""The files of a recording, each opened by the format that its first bytes show."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path, PurePosixPath

import yaml

from deep_perception.replay.recordings.storage import (
    METADATA,
    BagError,
    StorageFile,
    mcap_records,
    packing,
    ros1_files,
    sqlite_files,
)
from deep_perception.replay.recordings.storage.mcap_files import McapFile

_STORED = re.compile(r".*\.(mcap|db3)(\.zstd?)?", re.IGNORECASE)
EXPECTED = "expected a folder of rosbag2, or an .mcap, .db3 or .bag file"


def files_of(path: Path, warn: Callable[[str], None]) -> list[Path]:
    """Return the files that contain the messages of a recording. Raises BagError."""
    if not path.exists():
        raise BagError(f"{path}: there is no such file or folder; {EXPECTED}")
    if not path.is_dir():
        return [path]
    names = _read_metadata(path / METADATA, warn)
    existing = [path / name for name in names if (path / name).is_file()]
    if missing := [name for name in names if path / name not in existing]:
        warn(f"{', '.join(missing)} of {METADATA} {'is' if len(missing) == 1 else 'are'} missing")
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
        content = yaml.safe_load(metadata.read_text(encoding="utf-8"))
        names = content["rosbag2_bagfile_information"]["relative_file_paths"]
        # Bags before Foxy include the name of the folder, which may have been renamed since.
        return [PurePosixPath(str(name).replace("\\", "/")).name for name in names]
    except (OSError, ValueError, KeyError, TypeError, yaml.YAMLError) as error:
        reason = " ".join(str(error).split())
        warn(f"{METADATA} cannot be read ({reason}); the files in the folder are read")
        return []


def _stored(folder: Path) -> list[Path]:
    """Return the files of rosbag2 in a folder, in the order of their numbers."""
    files = (file for file in folder.iterdir() if _STORED.fullmatch(file.name))
    return sorted((file for file in files if file.is_file()), key=_in_natural_order)


def open_file(path: Path, scratch: Callable[[], Path], original: Path | None = None) -> StorageFile:
    """Open a file of any name; ``scratch`` creates a folder for copies. Raises BagError.

    ``original`` is the file of the recording of which ``path`` is a copy.
    """
    original = original or path
    try:
        with path.open("rb") as opened:
            start = opened.read(16)
    except OSError as error:
        raise BagError(f"{original}: cannot be read ({error.strerror or error})") from None
    if not start:
        raise BagError(f"{original}: the file is empty")
    if start.startswith(packing.MAGIC):
        return open_file(packing.decompress_file(path, scratch()), scratch, original)
    if start.startswith(mcap_records.MAGIC):
        return McapFile(path, original)
    if start.startswith(sqlite_files.MAGIC):
        return sqlite_files.SqliteFile(path, original, scratch)
    if start.startswith(ros1_files.MAGIC):
        return ros1_files.Ros1File(path, original)
    raise BagError(
        f"{original}: this file is no recording; {EXPECTED}; for images: deep_perception analyze"
    )


def _in_natural_order(path: Path) -> tuple[list[tuple[int, str]], str]:
    parts = re.split(r"(\d+)", path.name)
    numbers = [(int(part), "") if part.isdecimal() else (-1, part) for part in parts]
    return numbers, path.name
