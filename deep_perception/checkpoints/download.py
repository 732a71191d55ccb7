"""Download models from the hub: resumable, checked, and moved into place when complete."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deep_perception._version import __version__
from deep_perception.checkpoints.catalog import Model, ModelError, ModelFile, megabytes
from deep_perception.checkpoints.errors import hub_errors, os_reason, resume_hint
from deep_perception.checkpoints.listing import read_listing
from deep_perception.checkpoints.on_disk import OnDisk, inspect, matches, parts, remove_empty
from deep_perception.checkpoints.record import (
    BUSY,
    LOCK,
    PART,
    Record,
    draft_lock,
    read_lock,
    with_digests,
)
from deep_perception.checkpoints.transfer import download, size_of
from deep_perception.untrusted.places import make_way


def fetch(model: Model, folder: Path, *, revision: str = "") -> OnDisk:
    """Download the missing and broken files into ``folder/<name>``. Raises ModelError, one line.

    Without ``revision`` this is the pinned revision with the pinned checksums, or for a model
    without a pin the one on disk; if all files are there, the network is not used. Otherwise the
    hub reports the checksums. A complete model stays usable until the new files are complete.
    """
    path = folder / model.name
    try:
        known = _known(model, path, revision)
        if known is None or _missing(path, known.files):
            target = known.revision if known else revision or model.revision
            with hub_errors(model, target, path), _locked(path):
                wanted = known or read_listing(model, target)
                try:
                    _download_all(model, wanted, path)
                finally:
                    remove_empty(path, (file.name for file in wanted.files))
        elif inspect(model, folder).state != "complete":
            draft_lock(path, model, known).replace(path / LOCK)
    except OSError as error:
        raise ModelError(f"{path}: {os_reason(error)}{resume_hint(path)}") from error
    return inspect(model, folder)


def _known(model: Model, path: Path, revision: str) -> Record | None:
    """Return the files that must be on disk, None if only the hub knows them."""
    if model.files and revision in ("", model.revision):
        return Record(revision=model.revision, checked_against="pin", files=model.files)
    if model.files or revision:
        return None
    try:
        return read_lock(path, model)
    except ValueError:
        return None


def _missing(path: Path, files: tuple[ModelFile, ...]) -> list[ModelFile]:
    return [file for file in files if not matches(path / file.name, file)]


def _download_all(model: Model, wanted: Record, path: Path) -> None:
    missing = _missing(path, wanted.files)
    partial = {file.name: _part(path, file) for file in missing}
    for stale in set(parts(path)) - set(partial.values()):
        stale.unlink()
    _check_room(path, sum(file.size - size_of(partial[file.name]) for file in missing))
    for file in missing:
        _download(model, wanted.revision, file, partial[file.name])
    # From here on the network is not used. Without a lock file, an interruption leaves the model
    # partial until the next download completes it.
    paths = {file.name: partial.get(file.name, path / file.name) for file in wanted.files}
    draft = draft_lock(path, model, replace(wanted, files=with_digests(paths, wanted.files)))
    outdated = _recorded(path, model) - paths.keys()
    (path / LOCK).unlink(missing_ok=True)
    for file in missing:
        partial[file.name].replace(path / file.name)
    # Code of another revision must not stay beside that of this one.
    for name in outdated:
        (path / name).unlink(missing_ok=True)
    draft.replace(path / LOCK)


def _recorded(path: Path, model: Model) -> set[str]:
    try:
        record = read_lock(path, model)
    except ValueError:
        return set()
    return {file.name for file in record.files} if record else set()


def _download(model: Model, commit: str, file: ModelFile, part: Path) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if matches(part, file):
        return
    headers = build_hf_headers(library_name="deep_perception", library_version=__version__)
    url = hf_hub_url(model.repo, file.name, revision=commit)
    # The metadata come first: an error is reported at once, where the download would retry, and a
    # wrong file is found before its 900 MB are downloaded.
    metadata = get_hf_file_metadata(url, headers=headers)
    if file.sha256 and len(metadata.etag or "") == 64 and metadata.etag != file.sha256:
        raise ModelError(
            f"{url}: the hub reports another checksum than the expected one, nothing was "
            "downloaded (if the pin is wrong, use --revision main)"
        )
    while True:
        start = size_of(part)
        download(url, part, file.size, headers, f"{model.name}/{file.name}")
        if matches(part, file):
            return
        part.unlink()
        # The part from an earlier run may be the broken one, so the file is downloaded once more.
        if not start:
            raise ModelError(
                f"{url}: the file does not match its checksum and was deleted; try again"
            )


def _part(path: Path, file: ModelFile) -> Path:
    """Return the path of a partial file. Its name has the checksum, so that only the same file is
    resumed."""
    part = path / f"{file.name}.{(file.sha256 or file.git_sha1)[:16]}{PART}"
    for folder in reversed(part.relative_to(path).parents):
        # The folder of the model itself may be a link to a larger disk.
        if folder.parts and (path / folder).is_symlink():
            raise ModelError(f"{path / folder} is a link, through which nothing is downloaded")
    part.parent.mkdir(parents=True, exist_ok=True)
    make_way(part)
    if size_of(part) > file.size:
        part.unlink()
    return part


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if free < needed:
        raise ModelError(
            f"{path}: the disk has {megabytes(free)} free and {megabytes(needed)} are needed"
        )


@contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Lock the folder: two downloads of one model would write to the same partial file."""
    from filelock import FileLock, Timeout

    path.mkdir(parents=True, exist_ok=True)
    try:
        make_way(path / BUSY)  # A lock empties what it opens, in old versions through a link too.
        with FileLock(path / BUSY, timeout=0):
            try:
                yield
            finally:
                # A download without a result leaves no folder that looks like a model.
                if [entry.name for entry in path.iterdir()] == [BUSY]:
                    (path / BUSY).unlink()
                    path.rmdir()
    except Timeout:
        raise ModelError(f"{path}: another process is downloading this model") from None
