"""Step 4 of reading an answer, for JSON: label, sentence and attributes in an object."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from deep_perception.describers.server.answers import thinking
from deep_perception.describers.server.answers.answer import Answer, BadAnswer
from deep_perception.describers.server.answers.labels import given_label, label_of
from deep_perception.describers.server.answers.layouts import NAMED, unquoted, without_emphasis
from deep_perception.describers.server.answers.objects import loose_object
from deep_perception.describers.server.answers.refusals import refuses
from deep_perception.describers.server.answers.repetition import repeats
from deep_perception.describers.server.answers.schema import DETAILS, TEXT_LENGTH, VALUE_LENGTH
from deep_perception.describers.server.answers.special_tokens import without_tokens
from deep_perception.describers.server.answers.text import clean, error_text

UNKNOWN = ("", "unknown", "none", "n/a", "null")
# What the prompt and the schema say about a value.
HINT = re.compile(
    r"^(?:string|array|object|enum|up to \d+ words?|list of .*|\.+|"
    r"…)$",
    re.IGNORECASE,
)
LABEL_KEYS = ("label", "noun phrase", "name", "object", "object name", "noun", "title")
TEXT_KEYS = ("caption", "sentence", "description", "text")
# Objects around the answer.
WRAPPERS = (
    "regions", "objects", "items", "results", "detections", "annotations", "properties", "answer",
    "response", "result", "output", "region", "object", "json", "data", "parameters", "arguments",
    "description",
)  # fmt: skip


def from_object(found: Mapping[str, Any], depth: int = 0) -> Answer:
    """Return what a JSON object describes. Raises BadAnswer."""
    names = {_key(key): value for key, value in found.items()}
    label = next((names[key] for key in LABEL_KEYS if names.get(key)), None)
    text = next((names[key] for key in TEXT_KEYS if names.get(key)), None)
    if depth < 3 and not (isinstance(label, str) and isinstance(text, str)):
        inner = _inner(names)
        if inner is not None:
            return from_object(inner, depth + 1)
    if not names.keys() & {*LABEL_KEYS, *TEXT_KEYS}:
        if names.get("error"):
            raise BadAnswer(f"the model answered with an error: {error_text(found)}")
        raise BadAnswer("the answer is JSON without a label and a caption")
    if any(isinstance(part, Mapping) and "type" in part for part in (label, text)):
        raise BadAnswer("the answer repeats the question: it is the schema")
    if names.keys() & {"arguments", "parameters"}:
        raise BadAnswer("the model calls a function instead of answering")
    received = label, text
    label, text = _without_frames(_value(label), _value(text))
    if any(
        isinstance(raw, str) and len(raw) > 24 and not value
        for raw, value in zip(received, (label, text), strict=True)
    ):
        raise BadAnswer("the answer is empty: nothing but special tokens")
    if repeats(label):
        raise BadAnswer(f"the answer repeats itself: {label[:80]}")
    if refuses(label):
        raise BadAnswer(f"the model refused: {label[:120]}")
    attributes = {key: _value(names.get(key)) for key in DETAILS}
    return Answer(
        given_label(label) if label else label_of(text),
        clean(text or label, TEXT_LENGTH),
        {key: clean(value, VALUE_LENGTH) for key, value in attributes.items() if _is_value(value)},
    )


def _key(key: object) -> str:
    """Return a key in small letters with spaces; "object_label" is a label."""
    name = re.sub(r"[\s_-]+", " ", str(key).lower()).strip()
    rest = re.sub(r"^(?:object|region|image|the) (?=label|caption|description|name)", "", name)
    return rest or name


def _without_frames(label: str, text: str) -> tuple[str, str]:
    """Return both without names, numbers, emphasis and quotation marks around them."""
    if label.startswith("1.") and text.startswith("2."):
        label, text = label[2:].strip(), text[2:].strip()
    if (named := NAMED.match(label)) and named["label"] and named["value"]:
        label = named["value"]
    if (named := NAMED.match(text)) and named["text"] and named["value"]:
        text = named["value"]
    return unquoted(without_emphasis(label)), unquoted(without_emphasis(text))


def _inner(names: Mapping[str, Any]) -> Mapping[str, Any] | None:
    for key in WRAPPERS:
        value = names.get(key)
        if isinstance(value, list) and value:
            value = value[0]
        if isinstance(value, str) and value.strip().startswith("{"):
            value = loose_object(value)
        if isinstance(value, Mapping):
            return value
    only = next(iter(names.values())) if len(names) == 1 else None
    return only if isinstance(only, Mapping) else None


def _is_value(value: str) -> bool:
    return not (value.lower() in UNKNOWN or HINT.match(value) or repeats(value) or refuses(value))


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(dict.fromkeys(filter(None, map(_value, value))))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    if value is None:
        return ""
    answer = thinking.split(str(value), headings=False).answer
    return clean(without_tokens(answer, is_value=True), TEXT_LENGTH)
