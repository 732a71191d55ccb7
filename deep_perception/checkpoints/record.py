"""The record of a model's download: file, allowed names, and checksums."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from deep_perception.checkpoints.catalog import Model, ModelFile
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.json_reader import read_json

LOCK = "models.lock.json"
PART = ".part"
BUSY = ".fetching.lock"

# Bytes of a record: 1000 files of 200 characters have less.
RECORD_LIMIT = 1 << 20
# Devices on Windows, in every folder and with every suffix.
_RESERVED = re.compile(r"con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9]")

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
    draft.unlink(missing_ok=True)  # It may be a link to another file.
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
        content = read_json(read_file(path, RECORD_LIMIT), limit=RECORD_LIMIT)
        pinned = content["checked_against"] == "pin"
        revision = content["revision"]
        files = tuple(
            ModelFile(name=name, size=file["size"], sha256=file["sha256"])
            for name, file in content["files"].items()
        )
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError("not a record") from error
    if not isinstance(revision, str) or not re.fullmatch("[0-9a-f]{40}", revision):
        raise ValueError("its revision is no commit")
    if not all(_is_complete(file) for file in files):
        raise ValueError("a size or a checksum is none")
    if not files or not all(is_safe(file.name) for file in files):
        raise ValueError("no files, or file names that are not allowed")
    if pinned and revision == model.revision and model.files:
        files = model.files  # A file on disk does not replace the pin.
    return Record(revision=revision, checked_against="pin" if pinned else "hub", files=files)


def _is_complete(file: ModelFile) -> bool:
    return (
        type(file.size) is int
        and file.size >= 0
        and isinstance(file.sha256, str)
        and re.fullmatch("[0-9a-f]{64}", file.sha256) is not None
    )


def is_safe(name: str) -> bool:
    """Whether a name from the hub stays in the model's folder and is no name of our own files.

    It is also a name on Windows, and one that a terminal shows as it is.
    """
    pieces = name.split("/")
    return (
        len(name) <= 200
        and name.isprintable()
        and not set(name) & set('\\:*?"<>|')
        and all(_is_safe_piece(piece) for piece in pieces)
    )


def _is_safe_piece(piece: str) -> bool:
    lower = piece.lower()
    return (
        piece.strip(" ") == piece != ""
        and not piece.endswith(".")  # also . and ..
        and not lower.endswith(PART)
        and lower not in (LOCK, BUSY)
        and not _RESERVED.fullmatch(lower.partition(".")[0].strip())
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
