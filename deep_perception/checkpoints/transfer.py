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

from deep_perception.checkpoints.catalog import ModelError
from deep_perception.untrusted.text import printable

RETRIES = 3  # attempts in a row without a single new byte
PAUSE_S = 1.0
ERROR_BYTES = 1 << 16  # of the body of an error, which may name a reason


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
    from huggingface_hub import constants, get_session

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
        check_redirects(response)
        raise_for_status(response)
        resumes = response.status_code == 206
        with part.open("ab" if resumes else "wb") as stream:
            progress.update((start if resumes else 0) - progress.n)
            # As they were sent: what a server compressed although it was asked not to is not
            # expanded, and its checksum is wrong.
            for block in response.iter_raw():
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


def check_redirects(response: Any) -> None:
    """Raise ModelError if a response came over plain HTTP at the end of a way over HTTPS."""
    schemes = [one.url.scheme for one in (*response.history, response)]
    if "https" in schemes and schemes[-1] != "https":
        host = printable(response.url.host)
        raise ModelError(f"the hub redirects from https to {schemes[-1]} at {host}; try again")


def raise_for_status(response: Any) -> None:
    """Raise the error of the hub's library for a streamed response that is one.

    The library reads the whole body of an error for its message.
    """
    from huggingface_hub.utils import hf_raise_for_status  # type: ignore[attr-defined]

    if response.status_code < 400:
        return
    body = b""
    for block in response.iter_raw():
        body += block
        if len(body) >= ERROR_BYTES:
            break
    headers = {
        name: value
        for name, value in response.headers.items()
        if name.lower() not in ("content-encoding", "content-length", "transfer-encoding")
    }
    hf_raise_for_status(
        type(response)(
            response.status_code,
            headers=headers,
            content=body[:ERROR_BYTES],
            request=response.request,
        )
    )
