"""Read the body of an answer by what it is, whatever its headers say.

Servers and gateways send JSON as ``text/plain`` or ``application/octet-stream``, with a byte order
mark, in a wrong character set, or as a stream of events although none was asked for.

``transport.py`` has limited the size of a body. What follows takes time for each byte once.
"""

from __future__ import annotations

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from itertools import chain
from typing import Any

from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import NoJson, read_json

_PAGE = re.compile(r"<(?:!doctype\s+)?html\b|<head\b|<body\b|<\?xml\b", re.IGNORECASE)
_TITLE = re.compile(r"<(title|h1)[^>]{0,200}>(.{0,400}?)</\1>", re.IGNORECASE | re.DOTALL)
# Some of Python's other codecs take a time that grows with the square of the text.
_CHARSET = re.compile(
    r"utf[-_]?(?:8|16|32)(?:[-_]?(?:le|be))?|(?:us[-_]?)?ascii|(?:iso[-_]?)?8859[-_]\d\d?|"
    r"iso[-_]?8859[-_]?\d\d?|latin[-_]?\d\d?|(?:windows|cp|ibm)[-_]?\d{3,4}|koi8[-_][rut]|"
    r"gb(?:k|2312|18030)|big5(?:[-_]?hkscs)?|euc[-_]?(?:jp|kr)|shift[-_]?jis|sjis|iso[-_]?2022[-_]"
    r"(?:jp|kr)|mac[-_]?roman|tis[-_]?620",
    re.IGNORECASE,
)


def decode_body(data: bytes, content_type: str = "") -> object:
    """Return the JSON of a body, of several events as one, or its text if it is no JSON.

    ``content_type``: the header. Raises ValueError for JSON that breaks off or whose characters
    are unknown, and for an empty body.
    """
    text = decode_text(data, content_type).strip()
    if not text:
        raise ValueError("the answer is empty")
    is_json = text[0] in '{["' or text.startswith("data:")
    if is_json and not _is_decoded(data, text):
        raise ValueError("the answer is not in UTF-8 and does not say in which character set")
    try:
        return _read(text)
    except NoJson:
        problem = "the answer's JSON breaks off"
    except UntrustedError as error:
        problem = f"the answer {error}"
    if (events := list(_events(text))) and (joined := _join(events)) is not None:
        return joined
    if is_json:
        raise ValueError(problem)
    return text


def decode_text(data: bytes, content_type: str = "") -> str:
    """Return the text of a body: what it is itself comes first, then what its header says.

    Bytes without a meaning become U+FFFD.
    """
    # By a byte order mark, and by where the zero bytes are.
    encoding = json.detect_encoding(data)
    for name in (encoding, known_charset(content_type) or encoding):
        with suppress(UnicodeDecodeError, LookupError):
            return data.decode(name)
    return data.decode("utf-8", "replace")


def known_charset(content_type: str) -> str:
    """Return the character set that a header names, "" for none and for an unknown one."""
    declared = re.search(r"charset=[\"']?([\w.:-]+)", content_type, re.IGNORECASE)
    return declared[1] if declared and _CHARSET.fullmatch(declared[1]) else ""


def _is_decoded(data: bytes, text: str) -> bool:
    """Whether all bytes have a meaning; a character that was cut off at the end has none."""
    inner = text[:-1]
    return "\ufffd" not in inner or "\ufffd".encode() in data


def is_page(text: str) -> bool:
    """Whether a text is a web page."""
    return bool(_PAGE.search(text[:1000]))


def page_title(text: str) -> str:
    """Return the title of a web page, the whole text of anything else."""
    if not is_page(text):
        return text
    found = _TITLE.search(text)
    return re.sub(r"<[^>]*>", " ", found[2]) if found else "a web page"


def _events(text: str) -> Iterator[Mapping[str, Any]]:
    """Yield the JSON objects of a stream of events (SSE) or of lines (NDJSON)."""
    for line in text.splitlines():
        line = line.strip()
        if line.startswith("data:"):
            line = line.removeprefix("data:").strip()
        elif not line.startswith("{"):
            continue  # another field of an event, or a comment
        try:
            event = _read(line)
        except UntrustedError:
            continue
        if isinstance(event, Mapping):
            yield event


def _read(text: str) -> Any:
    return read_json(text, limit=len(text))


def _join(events: list[Mapping[str, Any]]) -> Mapping[str, Any] | None:
    """Return the chat completion whose parts are the events, None if they are no such parts.

    An error among them is the answer. An answer without a ``finish_reason`` was not finished.
    """
    joined: dict[str, Any] = {}
    # Each value is a list of parts, which are joined at the end.
    message: dict[str, list[Any]] = defaultdict(list)
    reason, found = None, False
    for event in events:
        if event.get("error"):
            return event
        joined.update({key: value for key, value in event.items() if key not in ("choices",)})
        choices = event.get("choices")
        choice = choices[0] if isinstance(choices, list) and choices else None
        if not isinstance(choice, Mapping):
            continue
        found = True
        reason = choice.get("finish_reason") or reason
        part = choice.get("message") or choice.get("delta")
        for key, value in part.items() if isinstance(part, Mapping) else ():
            if key == "role" or value is None:
                continue
            parts = message[key]
            if choice.get("message"):
                parts[:] = [value]
            elif not parts or (isinstance(value, (str, list)) and type(value) is type(parts[0])):
                parts.append(value)
    if not found:
        return events[0] if len(events) == 1 else None
    if reason is None:
        raise ValueError("the answer breaks off in the middle of a stream")
    whole = {"role": "assistant", **{key: _joined(parts) for key, parts in message.items()}}
    return {**joined, "choices": [{"index": 0, "message": whole, "finish_reason": reason}]}


def _joined(parts: list[Any]) -> Any:
    if isinstance(parts[0], str):
        return "".join(parts)
    return [*chain.from_iterable(parts)] if isinstance(parts[0], list) else parts[0]
