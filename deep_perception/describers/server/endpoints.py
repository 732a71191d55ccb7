"""Below which paths of a server its API may be, from the path that the user gave."""

from __future__ import annotations

import re

# The path of one request, copied from a manual.
_REQUEST = re.compile(
    r"/+(?:chat/completions|completions|responses|embeddings|models(?:/[^/]+)?"
    r"|api/(?:chat|generate|tags|show)|api/v[01]/(?:models(?:/.*)?|chat))$"
)
# OpenAI's API has /v1; others have /v1beta/openai, /api/paas/v4, /openai.
_VERSION = re.compile(r"/(?:v\d+(?:(?:alpha|beta)\d*)?|openai)$")
# The API of LM Studio itself, whose /v1 is beside it.
_OWN_API = re.compile(r"/api/v[01]$")


def root_of(path: str) -> str:
    """Return the path in front of the API: ``/llm`` of ``/llm/v1/chat/completions``."""
    return _OWN_API.sub("", _without_request(path)).removesuffix("/v1")


def api_paths(path: str, *, prefer_v1: bool = True) -> tuple[str, ...]:
    """Return the paths to try for the API in their order, without a slash at the end.

    ``prefer_v1``: whether ``/v1`` is tried first where the path has no version.
    """
    path = _without_request(path)
    if _OWN_API.search(path):
        return path, f"{_OWN_API.sub('', path)}/v1"
    if path.endswith("/api"):  # Ollama's own API, with /v1 beside it.
        beside = path.removesuffix("/api")
        return f"{path}/v1", path, f"{beside}/v1"
    if _VERSION.search(path):
        return (path,) if prefer_v1 else (path, path.removesuffix("/v1"))
    return (f"{path}/v1", path) if prefer_v1 else (path, f"{path}/v1")


def _without_request(path: str) -> str:
    path = _REQUEST.sub("", re.sub("/{2,}", "/", path).rstrip("/")).rstrip("/")
    return re.sub("(?:/v1)+$", "/v1", path)
