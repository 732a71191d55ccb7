"""The record of a model's download: file, allowed names, and checksums."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from deep_perception.checkpoints.catalog import Model, ModelFile

LOCK = "models.lock.json"
PART = ".part"
BUSY = ".fetching.lock"

Authority = Literal["pin", "hub", ""]


@dataclass(frozen=True, kw_only=True)
class Record:
    """The content of `models.lock.json`: the files that were downloaded and checked."""

    revision: str
    checked_against: Authority
    files: tuple[ModelFile, ...]


def draft_lock(path: Path, model: Model, record: Record) -> Path:
    """Write a record under another name, so that a full disk leaves no incomplete record.

    The model is complete once the draft is renamed to LOCK. Raises OSError.
    """
    content = {
        "model": model.name,
        "repo": model.repo,
        "revision": record.revision,
        "checked_against": record.checked_against,
        "licence": model.licence,
        "files": {file.name: {"size": file.size, "sha256": file.sha256} for file in record.files},
    }
    draft = path / (LOCK + PART)
    draft.write_text(json.dumps(content, indent=2) + "\n", encoding="utf-8")
    return draft


def read_lock(path: Path, model: Model) -> Record | None:
    """Return the record of a model's folder, None if there is none.

    Raises ValueError if it cannot be parsed, and OSError.
    """
    return read_record(path / LOCK, model)


def read_record(path: Path, model: Model) -> Record | None:
    """Return the record in a file as ``read_lock`` does; also for a draft."""
    if not path.exists():
        return None
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        pinned = content["checked_against"] == "pin"
        revision = str(content["revision"])
        files = tuple(
            ModelFile(name=name, size=int(file["size"]), sha256=str(file["sha256"]))
            for name, file in content["files"].items()
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a record") from error
    if not files or not all(is_safe(file.name) and file.sha256 for file in files):
        raise ValueError("no files, or file names that are not allowed")
    if pinned and revision == model.revision and model.files:
        files = model.files  # A file on disk does not replace the pin.
    return Record(revision=revision, checked_against="pin" if pinned else "hub", files=files)


def is_safe(name: str) -> bool:
    """Whether a name from the hub stays in the model's folder and is no name of our own files."""
    pieces = name.split("/")
    return (
        all(piece not in ("", ".", "..") for piece in pieces)
        and not set(name) & set("\\:\0\n")
        and not name.endswith(PART)
        and name not in (LOCK, BUSY)
    )


def matches_any(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file name matches one of the patterns, in which ``*`` matches ``/`` too."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def with_digests(paths: Mapping[str, Path], files: tuple[ModelFile, ...]) -> tuple[ModelFile, ...]:
    """Return the files with the SHA-256 of the file on disk for those that have none."""
    return tuple(
        file if file.sha256 else replace(file, sha256=sha256(paths[file.name])) for file in files
    )


def sha256(path: Path) -> str:
    """Return the SHA-256 of a file. Raises OSError."""
    return _hash(path, hashlib.sha256())


def same_bytes(path: Path, file: ModelFile) -> bool:
    """Whether a file has the published checksum. Raises OSError."""
    if file.sha256:
        return sha256(path) == file.sha256
    # The hub reports the git id of the blob for files that are not in LFS.
    return _hash(path, hashlib.sha1(b"blob %d\0" % file.size)) == file.git_sha1


def _hash(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
