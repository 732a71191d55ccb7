"""What was fetched of a model: the record of it, names that are allowed in it, and checksums."""

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
    """What was fetched and checked, as `models.lock.json` has it."""

    revision: str
    checked_against: Authority
    files: tuple[ModelFile, ...]


def draft_lock(path: Path, model: Model, record: Record) -> Path:
    """Write what was checked beside its place: a full disk must not leave half a record.

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
    """The record of a model's folder, None where there is none.

    Raises ValueError for one that is not readable, and OSError.
    """
    return read_record(path / LOCK, model)


def read_record(path: Path, model: Model) -> Record | None:
    """A record, or the draft of one; as ``read_lock``."""
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
        raise ValueError("no files, or names of files that are none")
    if pinned and revision == model.revision and model.files:
        files = model.files  # the catalogue's word is better than a file's on disk
    return Record(revision=revision, checked_against="pin" if pinned else "hub", files=files)


def is_safe(name: str) -> bool:
    """Whether a name that somebody else chose stays in the model's folder, and is none of ours."""
    pieces = name.split("/")
    return (
        all(piece not in ("", ".", "..") for piece in pieces)
        and not set(name) & set("\\:\0\n")
        and not name.endswith(PART)
        and name not in (LOCK, BUSY)
    )


def meets(name: str, patterns: tuple[str, ...]) -> bool:
    """Whether a file's name meets one of the patterns; `*` crosses folders."""
    return any(fnmatchcase(name, pattern) for pattern in patterns)


def with_digests(places: Mapping[str, Path], files: tuple[ModelFile, ...]) -> tuple[ModelFile, ...]:
    """The same files, each with the SHA-256 of what is on disk where none was announced."""
    return tuple(
        file if file.sha256 else replace(file, sha256=sha256(places[file.name])) for file in files
    )


def sha256(path: Path) -> str:
    """SHA-256 of a file's bytes. Raises OSError."""
    return _hash(path, hashlib.sha256())


def same_bytes(path: Path, file: ModelFile) -> bool:
    """Whether a file has the published checksum. Raises OSError."""
    if file.sha256:
        return sha256(path) == file.sha256
    # git's id of a blob: what the hub announces for files that are not in LFS.
    return _hash(path, hashlib.sha1(b"blob %d\0" % file.size)) == file.git_sha1


def _hash(path: Path, digest: hashlib._Hash) -> str:
    with path.open("rb") as stream:
        while block := stream.read(1 << 20):
            digest.update(block)
    return digest.hexdigest()
