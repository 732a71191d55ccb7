"""Download one file over HTTP, which is appended to the partial file on disk.

`hf_hub_download` of huggingface_hub 2 deletes a partial file when it ends (also by Ctrl-C) and
writes blocks of 10 MB, which a poor connection may never complete. So this module uses the session,
headers and errors of the library and writes the file itself. It uses plain HTTP and not Xet, which
cannot resume at a byte.
"""

from __future__ import annotations

import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tqdm import tqdm

RETRIES = 3  # attempts in a row without a single new byte
PAUSE_S = 1.0


def download(url: str, part: Path, size: int, headers: Mapping[str, str], title: str) -> None:
    """Append to ``part`` until it has ``size`` bytes, and resume after interruptions.

    Raises the errors of the hub's library (refusals at once, broken connections after RETRIES) and
    OSError.
    """
    failures = 0
    with tqdm(
        desc=title, total=size, unit="B", unit_scale=True, leave=False, disable=None
    ) as progress:
        while (start := size_of(part)) < size:
            try:
                _stream(url, part, start, size, headers, progress)
            except Exception as error:
                # The hub's library uses httpx or httpx2. Refusals are its own exceptions.
                if not type(error).__module__.startswith("httpx"):
                    raise
                failures = 0 if size_of(part) > start else failures + 1
                if failures > RETRIES:
                    raise
                time.sleep(PAUSE_S)


def size_of(path: Path) -> int:
    """Return the size of a file in bytes, 0 if there is none."""
    return path.stat().st_size if path.exists() else 0


def _stream(
    url: str, part: Path, start: int, size: int, headers: Mapping[str, str], progress: Any
) -> None:
    from huggingface_hub import constants
    from huggingface_hub.utils import (  # type: ignore[attr-defined]
        get_session,
        hf_raise_for_status,
    )

    # A compressed response could not be resumed at a byte.
    request_headers = {**headers, "Accept-Encoding": "identity"}
    if start:
        request_headers["Range"] = f"bytes={start}-"
    with get_session().stream(
        "GET",
        url,
        headers=request_headers,
        timeout=constants.HF_HUB_DOWNLOAD_TIMEOUT,
        follow_redirects=True,
    ) as response:
        hf_raise_for_status(response)
        resumes = response.status_code == 206
        with part.open("ab" if resumes else "wb") as stream:
            progress.update((start if resumes else 0) - progress.n)
            for block in response.iter_bytes():
                stream.write(block)
                progress.update(len(block))
                if stream.tell() > size:
                    break
            # The power of a robot may be cut at any time: a complete file must be on the disk.
            stream.flush()
            os.fsync(stream.fileno())
    got = size_of(part)
    if got != size:
        raise OSError(f"the server sent a file of {got} bytes instead of {size}")
