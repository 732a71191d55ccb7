"""The list of a model's files that the hub reports, which may be a mirror of somebody else.

The library of the hub reads an answer of any size and believes it, so this module reads it itself,
with the session, the headers and the errors of the library.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from typing import Any
from urllib.parse import quote

from deep_perception._version import __version__
from deep_perception.checkpoints.catalog import Model, ModelError, ModelFile, megabytes
from deep_perception.checkpoints.record import Record, is_safe, matches_any
from deep_perception.checkpoints.transfer import check_redirects, raise_for_status
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import printable

# Bytes and seconds. The list of DAM has 10 kB.
LIMIT, LONGEST_S = 8 << 20, 60.0
MAX_FILES = 1000
# How much larger than expected a model may be, so that its download does not fill the disk.
MAX_GROWTH = 4


def read_listing(model: Model, revision: str) -> Record:
    """Return the commit, sizes and checksums that the hub reports for a revision.

    Raises ModelError, and the errors of the hub's library.
    """
    try:
        return _record(model, revision, read_json(_request(model.repo, revision), limit=LIMIT))
    except UntrustedError as error:
        raise ModelError(f"the hub's list of the files of {model.repo} {error}") from None


def _request(repo: str, revision: str) -> bytes:
    from huggingface_hub import constants, get_session
    from huggingface_hub.utils import build_hf_headers  # type: ignore[attr-defined]

    headers = build_hf_headers(library_name="deep_perception", library_version=__version__)
    url = f"{constants.ENDPOINT}/api/models/{repo}/revision/{quote(revision, safe='')}"
    with get_session().stream(
        "GET",
        url,
        params={"blobs": "true"},
        # A compressed answer has no limit.
        headers={**headers, "Accept-Encoding": "identity"},
        timeout=constants.HF_HUB_ETAG_TIMEOUT,
        follow_redirects=True,
    ) as response:
        check_redirects(response)
        raise_for_status(response)
        body, ends_at = bytearray(), time.monotonic() + LONGEST_S
        for block in response.iter_raw():
            body += block
            if len(body) > LIMIT:
                raise UntrustedError(f"is larger than {megabytes(LIMIT)}")
            if time.monotonic() > ends_at:
                raise UntrustedError(f"did not arrive within {LONGEST_S:.0f} s")
    return bytes(body)


def _record(model: Model, revision: str, content: Any) -> Record:
    commit = content.get("sha") if isinstance(content, dict) else None
    entries = content.get("siblings") if isinstance(content, dict) else None
    if not isinstance(commit, str) or not re.fullmatch("[0-9a-f]{40}", commit):
        raise UntrustedError("names no commit")
    if not isinstance(entries, list):
        raise UntrustedError("is empty")
    files = tuple(_files(model, entries))
    for pattern in model.needed:
        if not any(matches_any(file.name, (pattern,)) for file in files):
            raise ModelError(f"{model.repo} has no {pattern} at revision {revision}")
    if len(files) > MAX_FILES:
        raise UntrustedError(f"has {len(files)} files; at most {MAX_FILES} are downloaded")
    names = [file.name.casefold() for file in files]
    if len(set(names)) < len(names):
        raise UntrustedError("has a file twice, or in two spellings")
    size = sum(file.size for file in files)
    if size > MAX_GROWTH * model.size:
        raise UntrustedError(
            f"has {megabytes(size)}; {model.name} has about {megabytes(model.size)}"
        )
    return Record(revision=commit, checked_against="hub", files=files)


def _files(model: Model, entries: list[Any]) -> Iterator[ModelFile]:
    for entry in entries:
        entry = entry if isinstance(entry, dict) else {}
        name = entry.get("rfilename")
        if not isinstance(name, str):
            raise UntrustedError("has a file without a name")
        if not matches_any(name, model.wanted):
            continue
        if not is_safe(name):
            raise ModelError(
                f"the hub reports a file {printable(name)} of {model.repo}, whose name is not "
                "allowed"
            )
        large = entry.get("lfs")
        sha256 = large.get("sha256") if isinstance(large, dict) else None
        blob, size = entry.get("blobId"), entry.get("size")
        if isinstance(sha256, str) and re.fullmatch("[0-9a-f]{64}", sha256):
            digest = {"sha256": sha256}
        elif not large and isinstance(blob, str) and re.fullmatch("[0-9a-f]{40}", blob):
            digest = {"git_sha1": blob}
        else:
            raise ModelError(f"the hub reports no checksum for {name} of {model.repo}")
        if type(size) is not int or not 0 <= size < 1 << 48:
            raise ModelError(f"the hub reports no size for {name} of {model.repo}")
        yield ModelFile(name=name, size=size, **digest)
