"""Models from the hub: resumed after a cut, checked, and moved into place only when whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

from deep_perception import __version__
from deep_perception.checkpoints.catalog import Model, ModelError, ModelFile, megabytes
from deep_perception.checkpoints.errors import hub_errors, kept, os_reason
from deep_perception.checkpoints.on_disk import OnDisk, inspect, matches, parts, remove_empty
from deep_perception.checkpoints.record import (
    BUSY,
    LOCK,
    PART,
    Record,
    draft_lock,
    is_safe,
    meets,
    read_lock,
    with_digests,
)
from deep_perception.checkpoints.transfer import download, size_of


def fetch(model: Model, folder: Path, *, revision: str = "") -> OnDisk:
    """Get what is missing or broken into ``folder/<name>``. Raises ModelError, one line.

    Without `revision` the pinned one, checked against the pinned checksums, or for a model without
    a pin the one that is here already; nothing is asked of the network when all is there. Else
    what the hub announces. A model that is complete stays usable until the new files are whole.
    """
    path = folder / model.name
    try:
        known = _known(model, path, revision)
        if known is None or _lacking(path, known.files):
            asked = known.revision if known else revision or model.revision
            with hub_errors(model, asked, path), _alone(path):
                wanted = known or _announced(model, asked)
                try:
                    _get_all(model, wanted, path)
                finally:
                    remove_empty(path, (file.name for file in wanted.files))
        elif inspect(model, folder).state != "complete":
            draft_lock(path, model, known).replace(path / LOCK)
    except OSError as error:
        raise ModelError(f"{path}: {os_reason(error)}{kept(path)}") from error
    return inspect(model, folder)


def _known(model: Model, path: Path, revision: str) -> Record | None:
    """What must be on disk, where that needs no question to the hub."""
    if model.files and revision in ("", model.revision):
        return Record(revision=model.revision, checked_against="pin", files=model.files)
    if model.files or revision:
        return None
    try:
        return read_lock(path, model)
    except ValueError:
        return None


def _lacking(path: Path, files: tuple[ModelFile, ...]) -> list[ModelFile]:
    return [file for file in files if not matches(path / file.name, file)]


def _announced(model: Model, revision: str) -> Record:
    """Commit, sizes and checksums as the hub announces them at a revision."""
    from huggingface_hub import HfApi, constants

    info = HfApi().model_info(
        model.repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
    )
    found = {
        entry.rfilename: entry
        for entry in info.siblings or ()
        if meets(entry.rfilename, model.wanted)
    }
    for pattern in model.needed:
        if not any(meets(name, (pattern,)) for name in found):
            raise ModelError(f"{model.repo} has no {pattern} at revision {revision}")
    files = []
    for name, entry in found.items():
        if not is_safe(name):
            raise ModelError(f"the hub announces a file {name!r} of {model.repo}: refused")
        if entry.size is None or not (entry.lfs or entry.blob_id):
            raise ModelError(f"the hub announces no checksum for {name} of {model.repo}")
        digest = {"sha256": entry.lfs.sha256} if entry.lfs else {"git_sha1": entry.blob_id or ""}
        files.append(ModelFile(name=name, size=entry.size, **digest))
    return Record(revision=str(info.sha), checked_against="hub", files=tuple(files))


def _get_all(model: Model, wanted: Record, path: Path) -> None:
    lacking = _lacking(path, wanted.files)
    growing = {file.name: _part(path, file) for file in lacking}
    for stale in set(parts(path)) - set(growing.values()):
        stale.unlink()
    _check_room(path, sum(file.size - size_of(growing[file.name]) for file in lacking))
    for file in lacking:
        _get(model, wanted.revision, file, growing[file.name])
    # From here on no network: the old files go, the new ones come.
    places = {file.name: growing.get(file.name, path / file.name) for file in wanted.files}
    draft = draft_lock(path, model, replace(wanted, files=with_digests(places, wanted.files)))
    gone = _recorded(path, model) - places.keys()
    (path / LOCK).unlink(missing_ok=True)
    for file in lacking:
        growing[file.name].replace(path / file.name)
    # Code of another revision must not lie beside that of this one.
    for name in gone:
        (path / name).unlink(missing_ok=True)
    draft.replace(path / LOCK)


def _recorded(path: Path, model: Model) -> set[str]:
    try:
        record = read_lock(path, model)
    except ValueError:
        return set()
    return {file.name for file in record.files} if record else set()


def _get(model: Model, commit: str, file: ModelFile, part: Path) -> None:
    from huggingface_hub import get_hf_file_metadata, hf_hub_url
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    if matches(part, file):
        return
    headers = build_hf_headers(library_name="deep_perception", library_version=__version__)
    url = hf_hub_url(model.repo, file.name, revision=commit)
    # Asked first: it answers at once where the download would try again and again, and it tells
    # a wrong file before its 900 MB.
    known = get_hf_file_metadata(url, headers=headers)
    if file.sha256 and len(known.etag or "") == 64 and known.etag != file.sha256:
        raise ModelError(
            f"{url}: the hub announces another checksum than the expected one, nothing was fetched "
            "(if it is the pin that is wrong: --revision main)"
        )
    while True:
        start = size_of(part)
        download(url, part, file.size, headers, f"{model.name}/{file.name}")
        if matches(part, file):
            return
        part.unlink()
        # What was there before may have been the broken half: once more, from the start.
        if not start:
            raise ModelError(
                f"{url}: the bytes do not match the checksum; they were thrown away, try again"
            )


def _part(path: Path, file: ModelFile) -> Path:
    """Where a file grows; named by its checksum, so that no other revision goes on from it."""
    part = path / f"{file.name}.{(file.sha256 or file.git_sha1)[:16]}{PART}"
    part.parent.mkdir(parents=True, exist_ok=True)
    if part.is_symlink() or size_of(part) > file.size:
        part.unlink()
    return part


def _check_room(path: Path, needed: int) -> None:
    free = shutil.disk_usage(path).free
    if free < needed:
        raise ModelError(
            f"{path}: the disk has {megabytes(free)} free and {megabytes(needed)} are needed"
        )


@contextmanager
def _alone(path: Path) -> Iterator[None]:
    """Two fetches of one model would write into the same partial file."""
    from filelock import FileLock, Timeout

    path.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(path / BUSY, timeout=0):
            try:
                yield
            finally:
                # A fetch that got nothing leaves no folder that looks like a model.
                if [entry.name for entry in path.iterdir()] == [BUSY]:
                    (path / BUSY).unlink()
                    path.rmdir()
    except Timeout:
        raise ModelError(f"{path}: another process is fetching this model") from None
