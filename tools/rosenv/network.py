"""Check that the package index can be reached: pip would try for a minute before it fails."""

from __future__ import annotations

import ast
import socket
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit
from urllib.request import getproxies, proxy_bypass

from .terminal import Problem, output


def check_index(options: Mapping[str, str]) -> None:
    """Connect to the index that pip is set to use, or to its proxy."""
    index = options.get("index-url", "https://pypi.org/simple")
    proxy = options.get("proxy") or _proxy(index)
    target = urlsplit(index if not proxy else proxy if "//" in proxy else f"http://{proxy}")
    if "no-index" in options or target.scheme == "file" or not target.hostname:
        return
    port = target.port or (443 if target.scheme == "https" else 80)
    try:
        socket.create_connection((str(target.hostname), port), timeout=10).close()
    except OSError as error:
        via = f" through the proxy {proxy}" if proxy else ""
        raise Problem(
            f"no network: cannot reach the package index {index}{via} ({error}).\n"
            "Check the connection and HTTPS_PROXY, HTTP_PROXY, PIP_INDEX_URL, then start again."
        ) from error


def pip_options(python: Path, env: Mapping[str, str]) -> dict[str, str]:
    """Return the options that pip reads from its files and from its environment variables."""
    listing = output([python, "-m", "pip", "config", "list"], env) or ""
    lines = [line.split("=", 1) for line in listing.splitlines() if "=" in line]
    found = {}
    for section in ("global", "install", ":env:"):  # a later section wins
        for key, value in lines:
            if key.startswith(f"{section}."):
                found[key[len(section) + 1 :]] = str(ast.literal_eval(value))
    return found


def _proxy(url: str) -> str | None:
    parts = urlsplit(url)
    return None if proxy_bypass(str(parts.hostname)) else getproxies().get(parts.scheme)
