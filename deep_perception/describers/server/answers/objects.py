"""The JSON objects in a text: complete ones, loosely written ones, and a cut one."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from deep_perception.untrusted.json_reader import checked

# strict=False: many models write the end of a line into a string as it is.
DECODER = json.JSONDecoder(strict=False)
FENCE = re.compile(r"^[^\S\n]*(?:```|~~~)[\w-]*[ \t]*$|```", re.MULTILINE)
OBJECT = re.compile(r"\{\s*[\"}]")
# Characters of an object that is no strict JSON.
LONGEST = 10_000
# A text with this many objects that break off is no JSON. Each costs the time to read all of it.
MOST_BROKEN = 100
# The tokens of a dictionary in Python's form. Operators, which may be nested without end, are none.
PYTHON = re.compile(
    r"\s+|[\[\](){},:]|-?\d[\d.]*(?:[eE][+-]?\d+)?|True|False|None|"
    r"'(?:[^'\\\n]|\\.)*'|\"(?:[^\"\\\n]|\\.)*\"",
    re.DOTALL,
)
SEPARATORS = re.compile(r"[\s,;\[\]]*")
STRINGS = ("label", "caption", "color", "category", "material")


class Found(NamedTuple):
    """An object with its place in the text."""

    start: int
    end: int
    content: Mapping[str, Any]


def find_objects(text: str) -> list[Found]:
    """Return the complete objects of a text that are not part of another one, in order.

    Of a list, each object is one of its own.
    """
    found: list[Found] = []
    broken = 0
    start = OBJECT.search(text)
    while start and broken < MOST_BROKEN:
        end = start.start() + 1
        try:
            content, end = DECODER.raw_decode(text, start.start())
            found.append(Found(start.start(), end, checked(content)))
        except ValueError:  # Also UntrustedError, for one that is too deep.
            broken += 1
        except RecursionError:
            break
        start = OBJECT.search(text, end)
    return found


def answers_in(text: str, found: Sequence[Found]) -> list[Found]:
    """Return the last objects that only separators are between.

    Words between two objects say that the first one was a draft; objects side by side are a list,
    whose first one is what the model deems most important.
    """
    group: list[Found] = []
    for one in found:
        between = text[group[-1].end : one.start] if group else ""
        if not SEPARATORS.fullmatch(FENCE.sub(" ", between)):
            group = []
        group.append(one)
    return group


def only_object(text: str) -> Mapping[str, Any] | None:
    """Return the object that a text consists of, None if there is anything beside it."""
    plain = FENCE.sub(" ", text).strip()
    found = find_objects(plain)
    if len(found) == 1 and not plain[: found[0].start].strip() + plain[found[0].end :].strip():
        return found[0].content
    return None


def loose_object(text: str) -> Mapping[str, Any] | None:
    """Return the object of a text that is no strict JSON but means one, None if it means none.

    Small models write Python's quotes, typographic quotes, commas at the end and comments, and
    some servers put the JSON into a string. A text of more than LONGEST characters means none.
    """
    if len(text) > LONGEST:
        return None
    text = FENCE.sub(" ", text).strip()
    if text.startswith('"{'):
        try:
            text = json.loads(text)
        except ValueError:
            return None
    if '\\"' in text and not re.search(r'(?<!\\)"', text):
        text = text.replace('\\"', '"')
    if re.match(r'\W*"\w+"\s*:', text) and "{" not in text:
        text = f"{{{text}}}"
    start, end = text.find("{"), text.rfind("}") + 1
    if start < 0 or end <= start:
        return None
    text = text[start:end]
    plain = re.sub(r"[“”„‟″＂]", '"', text)
    plain = re.sub(r"^[^\S\n]*//.*$|/\*.{0,500}?\*/", "", plain, flags=re.MULTILINE)
    plain = re.sub(r",(\s*[}\]])", r"\1", plain)
    plain = re.sub(r'(?<=["\]\d])\s*(?:;\s*)?("\w+"\s*:)', r",\1", plain)
    plain = re.sub(r"(?<=[{,])\s*,", "", plain)
    bare = re.sub(r"([{,]\s*)([A-Za-z_]\w*)(\s*:)", r'\1"\2"\3', plain)
    for attempt in (text, plain, bare):
        try:
            found = checked(DECODER.decode(attempt))
        except (ValueError, RecursionError):
            found = _python_object(attempt)
        if isinstance(found, Mapping):
            return found
    return None


def _python_object(text: str) -> object:
    """Return the value of a literal of Python, None if a text is none.

    ``ast.literal_eval`` may end the process for a text that is nested too deeply.
    """
    position = 0
    while position < len(text):
        token = PYTHON.match(text, position)
        if token is None:
            return None
        position = token.end()
    try:
        return checked(ast.literal_eval(text))
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        return None


def salvage(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the complete string values of an object that is cut off, and the cut one."""
    closed: dict[str, str] = {}
    broken: dict[str, str] = {}
    for key in STRINGS:
        match = re.search(rf'"{key}"\s*:\s*"((?:[^"\\]|\\.)*)("?)', text, re.IGNORECASE)
        if match:
            target = closed if match[2] else broken
            try:
                target[key] = str(json.loads(f'"{match[1]}"', strict=False))
            except ValueError:
                target[key] = match[1]
    return closed, broken
