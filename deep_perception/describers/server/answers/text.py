"""Texts of a server, which are untrusted input: one bounded line, and the message of an error."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence

from deep_perception.untrusted.words import words


def clean(text: str, length: int) -> str:
    """Return the text as one line of at most ``length`` characters, as it is untrusted input."""
    # U+FFFD stands for what was no UTF-8: a character that was cut in two.
    return words(text.replace("\ufffd", ""), length)


def error_text(body: object) -> str:
    """Return the message of an error body, which is a nested mapping, a list, a string or None."""
    return clean(_error_text(body), 300)


def _error_text(body: object) -> str:
    if isinstance(body, Mapping):
        # What FastAPI lists is more than its title.
        for key in ("error", "errors", "message", "detail", "msg"):
            if body.get(key):
                return _with_place(_error_text(body[key]), body)
        return json.dumps(body, default=str)
    if isinstance(body, Sequence) and not isinstance(body, str):
        return "; ".join(map(_error_text, body))
    return str(body or "")


def _with_place(text: str, body: Mapping[str, object]) -> str:
    """Add what some servers say beside the message: a parameter, and the error behind it."""
    metadata = body.get("metadata")
    place = body.get("loc")
    for more in (
        body.get("param"),
        body.get("code"),
        body.get("cause"),
        ".".join(map(str, place)) if isinstance(place, list) else place,
        metadata.get("raw") if isinstance(metadata, Mapping) else None,
    ):
        if isinstance(more, str) and not more.isdigit() and more not in text:
            text = f"{text} ({more})"
    return text
