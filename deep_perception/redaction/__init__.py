"""Secrets stay in the process: the one place that removes them from a text that leaves it.

``register`` makes a secret known. ``scrub`` removes the known ones, in any encoding (``forms.py``),
and what looks like one: a password in a URL, the token of a header. What leaves the process as a
line goes through ``output.py``, which calls it; the journal and the reports call it for what they
write.

The package needs the standard library only: the DAM server uses it in its own environment.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from deep_perception.redaction.forms import MARK, Secret, remove_fragments

__all__ = ["MARK", "forget_all", "register", "scrub", "scrub_content"]

# In a URL: the name and password in front of the host. A password may hold "/", "?" and "#", which
# are an error there; then the part behind the colon is no port.
_USERINFO = re.compile(
    r"""((?<!\\)(?:\\*/){2})(?:[^\s/?#"'<>\\]{0,512}|"""
    r"""[^\s/?#:@"'<>\\]{0,256}:(?!\d{1,5}(?:[/?#]|$))[^\s"'<>]{0,256})@"""
)
_PARAMETER = re.compile(
    r"""\b((?:(?:api|access|auth|subscription|client|x-api|x-goog-api)[-_]?)?"""
    r"""(?:key|token|secret|signature|passw(?:or)?d|pwd)=["']?)[^&;\s"'<>#]+""",
    re.IGNORECASE,
)
# A word alone is no token: "Basic authentication", "Bearer tokens".
_CREDENTIALS = re.compile(
    r"\b((?:bearer|basic)\s+)(?=[\w.~+/=-]*[\d_=+/~])[\w.~+/=-]{8,}", re.IGNORECASE
)

# Between texts that are scrubbed together. An environment variable cannot hold it, so
# hardly any secret does.
_SEPARATOR = "\0"

_lock = threading.Lock()
_known: dict[str, Secret] = {}
_sorted: tuple[Secret, ...] = ()


def register(secret: str) -> None:
    """Remove this text from everything that is scrubbed from now on. "" is no secret."""
    global _sorted
    if not secret or secret in _known:
        return
    with _lock:
        _known[secret] = Secret(secret)
        # The longest one first: a password is a part of "name:password".
        _sorted = tuple(sorted(_known.values(), key=lambda item: -len(item.text)))


def forget_all() -> None:
    """Forget all secrets, for the tests: a process never forgets one."""
    global _sorted
    with _lock:
        _known.clear()
        _sorted = ()


def scrub(text: str) -> str:
    """Return a message without secrets: each one, and what looks like one, is ``***``.

    A short secret is removed where it is a word of its own, because it may be a part of others.
    """
    known = _sorted
    for secret in known:
        text = secret.remove_from(text)
    # Before parts of it are removed: then it would be no name and password any more.
    text = _USERINFO.sub(rf"\1{MARK}@", text)
    if known:
        text = remove_fragments(text, [secret.text for secret in known])
    text = _PARAMETER.sub(rf"\1{MARK}", text)
    return _CREDENTIALS.sub(rf"\1{MARK}", text)


def scrub_content(value: Any) -> Any:
    """Return decoded JSON without known secrets in its texts and keys.

    A text may be a description. So a short secret, which may be a common word, is kept, and so is
    what only looks like a secret.
    """
    secrets = [secret for secret in _sorted if not secret.is_short]
    if not secrets:
        return value
    texts = list(_texts(value))
    # A server may send a million texts, and the search has a cost for each.
    whole = _SEPARATOR.join(texts)
    clean = _scrub_text(whole, secrets)
    if clean == whole:
        return value
    parts = clean.split(_SEPARATOR)
    if len(parts) != len(texts) or any(_SEPARATOR in text for text in texts):
        parts = [_scrub_text(text, secrets) for text in texts]
    return _with_texts(value, iter(parts))


def _scrub_text(text: str, secrets: list[Secret]) -> str:
    for secret in secrets:
        text = secret.remove_from(text)
    return remove_fragments(text, [secret.text for secret in secrets])


def _texts(value: object) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield from _texts(key)
            yield from _texts(item)
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from _texts(item)


def _with_texts(value: object, texts: Iterator[str]) -> object:
    if isinstance(value, str):
        return next(texts)
    if isinstance(value, Mapping):
        return {_with_texts(key, texts): _with_texts(item, texts) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [_with_texts(item, texts) for item in value]
    return value
