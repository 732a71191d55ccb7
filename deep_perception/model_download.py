"""Models from the hub: resumed after a cut, checked, and moved into place only when whole."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from deep_perception import __version__
from deep_perception.model_catalog import Model, ModelError, ModelFile, megabytes
from deep_perception.model_errors import hub_errors, kept, os_reason
from deep_perception.model_transfer import download, size_of
from deep_perception.models import (
    BUSY,
    LOCK,
    PART,
    OnDisk,
    inspect,
    matches,
    with_digests,
    write_lock,
)

WANTED = ("config.json", "preprocessor_config.json", "processor_config.json", "model.safetensors")
NEEDED = ("config.json", "model.safetensors")


def fetch(model: Model, folder: Path, *, revision: str = "") -> OnDisk:
    """Get what is missing or broken into ``folder/<name>``. Raises ModelError, one line.

    Without `revision` the pinned one, checked against the pinned checksums; nothing is asked of
    the network when all is there. A model that is complete stays usable until the new files are
    whole.
    """
    path = folder / model.name
    pinned = revision in ("", model.revision)
    try:
        if not pinned or _lacking(path, model.files):
            with hub_errors(model, revision or model.revision, path), _alone(path):
                commit, files = (
                    (model.revision, model.files) if pinned else _announced(model, revision)
                )
                _get_all(model, commit, files, path)
        elif inspect(model, folder).state != "complete":
            write_lock(path, model, model.revision, model.files, pinned=True)
    except OSError as error:
        raise ModelError(f"{path}: {os_reason(error)}{kept(path)}") from error
    return inspect(model, folder)


def _lacking(path: Path, files: tuple[ModelFile, ...]) -> list[ModelFile]:
    return [file for file in files if not matches(path / file.name, file)]


def _announced(model: Model, revision: str) -> tuple[str, tuple[ModelFile, ...]]:
    """Commit, sizes and checksums as the hub announces them at a revision."""
    from huggingface_hub import HfApi, constants

    info = HfApi().model_info(
        model.repo, revision=revision, files_metadata=True, timeout=constants.HF_HUB_ETAG_TIMEOUT
    )
    found = {entry.rfilename: entry for entry in info.siblings or ()}
    for name in NEEDED:
        if name not in found:
            raise ModelError(f"{model.repo} has no {name} at revision {revision}")
    files = []
    for name in WANTED:
        entry = found.get(name)
        if entry is None:
            continue
        if entry.size is None or not (entry.lfs or entry.blob_id):
            raise ModelError(f"the hub announces no checksum for {name} of {model.repo}")
        digest = {"sha256": entry.lfs.sha256} if entry.lfs else {"git_sha1": entry.blob_id or ""}
        files.append(ModelFile(name=name, size=entry.size, **digest))
    return str(info.sha), tuple(files)


def _get_all(model: Model, commit: str, files: tuple[ModelFile, ...], path: Path) -> None:
    lacking = _lacking(path, files)
    parts = {file.name: _part(path, file) for file in lacking}
    for stale in set(path.glob("*" + PART)) - set(parts.values()):
        stale.unlink()
    _check_room(path, sum(file.size - size_of(parts[file.name]) for file in lacking))
    for file in lacking:
        _get(model, commit, file, parts[file.name])
    # From here on no network: the old files go, the new ones come.
    (path / LOCK).unlink(missing_ok=True)
    for file in lacking:
        parts[file.name].replace(path / file.name)
    write_lock(path, model, commit, with_digests(path, files), pinned=files == model.files)


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
