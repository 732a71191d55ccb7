"""One file over HTTP, appended to what is on disk until it is whole.

`hf_hub_download` of huggingface_hub 2 throws a partial file away when it ends (Ctrl-C included)
and writes in blocks of 10 MB, which a poor connection may never see the end of. So its session,
headers and errors are used, and the bytes are written here. Plain HTTP rather than Xet, which
cannot go on at a byte.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

RETRIES = 3  # in a row without a single byte
PAUSE_S = 1.0


def download(url: str, part: Path, size: int, headers: Mapping[str, str], title: str) -> None:
    """Append to `part` until it has `size` bytes; goes on after cuts.

    Raises what the hub's library raises (refusals at once, broken connections after some tries)
    and OSError.
    """
    failures = 0
    with tqdm(
        desc=title, total=size, unit="B", unit_scale=True, leave=False, disable=None
    ) as progress:
        while (start := size_of(part)) < size:
            try:
                _stream(url, part, start, size, headers, progress)
            except Exception as error:
                # httpx or httpx2, by the hub's version; refusals are classes of the hub's own.
                if not type(error).__module__.startswith("httpx"):
                    raise
                failures = 0 if size_of(part) > start else failures + 1
                if failures > RETRIES:
                    raise
                time.sleep(PAUSE_S)


def size_of(path: Path) -> int:
    """Bytes on disk, 0 where there is no such file."""
    return path.stat().st_size if path.exists() else 0


def _stream(
    url: str, part: Path, start: int, size: int, headers: Mapping[str, str], progress: Any
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        get_session,
        hf_raise_for_status,
    )

    # A compressed answer could not be resumed at a byte.
    asked = {**headers, "Accept-Encoding": "identity"}
    if start:
        asked["Range"] = f"bytes={start}-"
    with get_session().stream(
        "GET",
        url,
        headers=asked,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as answer:
        hf_raise_for_status(answer)
        goes_on = answer.status_code == 206
        with part.open("ab" if goes_on else "wb") as stream:
            progress.update((start if goes_on else 0) - progress.n)
            for block in answer.iter_bytes():
                stream.write(block)
                progress.update(len(block))
                if stream.tell() > size:
                    break
            # A robot is switched off at any time: what is called complete must be on the disk.
            stream.flush()
            os.fsync(stream.fileno())
    got = size_of(part)
    if got != size:
        raise OSError(f"the server sent a file of {got} bytes instead of {size}")
