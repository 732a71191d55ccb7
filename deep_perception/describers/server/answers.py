"""Parse the answer of a chat server: a label, a sentence and attributes, or why there are none."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deep_perception.describers.server.answer_checks import complete_sentences, find_problem

LABEL_LENGTH, TEXT_LENGTH, VALUE_LENGTH = 60, 600, 120
UNKNOWN = ("", "unknown", "none", "n/a", "null")

# The schema is flat and bounded, so that small models follow it and its grammar stays small.
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "properties": {
        "label": {"type": "string", "maxLength": LABEL_LENGTH},
        "caption": {"type": "string", "maxLength": 160},
        "category": {
            "type": "string",
            "enum": ["person", "animal", "plant", "food", "furniture", "appliance", "electronics",
                     "tool", "container", "clothing", "vehicle", "building", "surface", "sign",
                     "toy", "other", "unknown"],
        },
        "attributes": {
            "type": "array", "items": {"type": "string", "maxLength": 24}, "maxItems": 6,
        },
        "color": {"type": "string", "maxLength": 24},
        "material": {
            "type": "string",
            "enum": ["wood", "metal", "plastic", "glass", "ceramic", "paper", "fabric", "leather",
                     "rubber", "stone", "organic", "liquid", "mixed", "unknown"],
        },
        "state": {"type": "array", "items": {"type": "string", "maxLength": 24}, "maxItems": 4},
        "affordances": {
            "type": "array",
            "items": {"enum": ["grasp", "push", "pull", "open", "close", "press", "pour", "fill",
                               "sit", "stand_on", "drive_on", "avoid", "read", "none"]},
            "maxItems": 4,
        },
        "confidence": {"type": "string", "enum": ["high", "medium", "low"]},
    },
    "required": ["label", "caption", "category", "attributes", "color", "material", "state",
                 "affordances", "confidence"],
}  # fmt: skip
DETAILS = ("category", "attributes", "color", "material", "state", "affordances", "confidence")


class BadAnswer(Exception):
    """The server's answer is no description of the region; the message says what it is."""


class ErrorInAnswer(Exception):
    """The server answered with status 200 and an error in the body."""


@dataclass(frozen=True)
class Answer:
    """A description that passed the checks.

    ``truncated``: the text of the model was cut off, and this is the complete part of it.
    """

    label: str
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    truncated: bool = False


def parse_answer(body: object, prompt: str) -> Answer:
    """Return the description in the body of a chat completion.

    Raises BadAnswer if it holds none, and ErrorInAnswer for an error that came with status 200.
    """
    if isinstance(body, str):
        page = "a web page" if "<html" in body[:500].lower() else "no JSON"
        raise BadAnswer(f"the server answered with {page}; is describer.url right?")
    if not isinstance(body, Mapping):
        raise BadAnswer(f"the server answered with {type(body).__name__}, not with an object")
    choices = body.get("choices")
    if not choices and body.get("error"):
        raise ErrorInAnswer(error_text(body))
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise BadAnswer("the answer has no choices")
    at_limit = choice.get("finish_reason") == "length"
    received, complete = _parse_content(_content(message, at_limit), at_limit)
    if problem := find_problem(received.label, received.text, prompt):
        raise BadAnswer(problem)
    if complete is None:
        raise BadAnswer(
            "the answer breaks off at describer.max_tokens: raise it"
            if at_limit
            else "the answer's JSON breaks off"
        )
    model = body.get("model")
    return dataclasses.replace(complete, model=clean(model, 200) if isinstance(model, str) else "")


def error_text(body: object) -> str:
    """Return the message of an error body, which is a nested mapping, a string or None."""
    while isinstance(body, Mapping):
        body = body.get("error") or body.get("message") or body.get("detail") or json.dumps(body)
    return clean(str(body or ""), 300)


def clean(text: str, length: int) -> str:
    """Return the text as one line without control characters, as it is untrusted input."""
    line = " ".join("".join(c if c.isprintable() else " " for c in text).split())
    return line if len(line) <= length else line[: length - 1].rstrip() + "…"


def _content(message: Mapping[str, Any], at_limit: bool) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = " ".join(
            str(part.get("text", "")) for part in content if isinstance(part, Mapping)
        )
    text = re.sub(r"<think>.*?(</think>|$)", "", str(content or ""), flags=re.DOTALL).strip()
    if text:
        return text
    if message.get("refusal"):
        raise BadAnswer(f"the model refused: {clean(str(message['refusal']), 120)}")
    # Some engines put the constrained JSON of a reasoning model into its reasoning.
    reasoning = str(message.get("reasoning_content") or message.get("reasoning") or "")
    if _first_object(reasoning) is not None:
        return reasoning
    if at_limit:
        raise BadAnswer(
            "the model reached describer.max_tokens without an answer: raise it, or turn the "
            "model's thinking off"
        )
    raise BadAnswer("the answer is empty")


def _parse_content(content: str, at_limit: bool) -> tuple[Answer, Answer | None]:
    """Return what was received, and its complete part: all of it, some of it, or None."""
    found = _first_object(content)
    if found is not None:  # At the token limit too: only text after the object was cut off.
        answer = _from_object(found)
        return answer, answer
    if content.lstrip("`json \n").startswith("{"):
        closed, broken = _salvage(content)
        if not closed and not broken:
            raise BadAnswer("the answer is broken JSON")
        received = _from_object({**closed, **broken})
        caption = complete_sentences(broken.get("caption", ""))
        complete = {**closed, **({"caption": caption} if caption else {})}
        return received, _truncated(_from_object(complete)) if complete.get("label") else None
    received = _from_text(content)
    if not at_limit:
        return received, received
    *lines, last = content.strip().splitlines()
    rest = "\n".join([*lines, complete_sentences(last)]).strip()
    # "1. A red cup that" leaves "1.", which is no sentence.
    kept = _from_text(rest) if re.search(r"[^\W\d]", rest) else None
    return received, _truncated(kept) if kept and kept.label else None


def _truncated(answer: Answer) -> Answer:
    return dataclasses.replace(answer, truncated=True)


def _first_object(text: str) -> Mapping[str, Any] | None:
    """Return the first JSON object in a text: code fences and text around it are common."""
    for match in re.finditer(r"\{", text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, match.start())
        except ValueError:
            continue
        return found if isinstance(found, Mapping) else None
    return None


def _salvage(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """Return the complete string values of a JSON object that is cut off, and the cut one."""
    closed: dict[str, str] = {}
    broken: dict[str, str] = {}
    for key in ("label", "caption", "color", "category", "material"):
        match = re.search(rf'"{key}"\s*:\s*"((?:[^"\\]|\\.)*)("?)', text)
        if match:
            target = closed if match[2] else broken
            try:
                target[key] = str(json.loads(f'"{match[1]}"', strict=False))
            except ValueError:
                target[key] = match[1]
    return closed, broken


def _from_object(found: Mapping[str, Any]) -> Answer:
    names = {str(key).lower(): value for key, value in found.items()}
    if not names.keys() & {"label", "name", "object", "caption", "description", "text"}:
        if names.get("error"):
            raise BadAnswer(f"the model answered with an error: {error_text(found)}")
        raise BadAnswer("the answer is JSON without a label and a caption")
    label = _value(names.get("label") or names.get("name") or names.get("object"))
    text = _value(names.get("caption") or names.get("description") or names.get("text"))
    attributes = {key: _value(names.get(key)) for key in DETAILS}
    return Answer(
        _label(label or text),
        clean(text or label, TEXT_LENGTH),
        {
            key: clean(value, VALUE_LENGTH)
            for key, value in attributes.items()
            if value.lower() not in UNKNOWN
        },
    )


def _from_text(content: str) -> Answer:
    lines = [line for line in (clean(line, TEXT_LENGTH) for line in content.splitlines()) if line]
    named = dict(_named_lines(lines))
    if named.get("label"):
        text = named.get("caption") or (lines[-1] if len(lines) > 1 else named["label"])
        return Answer(_label(named["label"]), text)
    if len(lines) == 2 and len(lines[0].split()) <= 6:
        return Answer(_label(lines[0]), lines[1])
    text = clean(content.replace("**", ""), TEXT_LENGTH)
    return Answer(_label(text), text)


def _named_lines(lines: list[str]) -> Iterator[tuple[str, str]]:
    for line in lines:
        match = re.match(
            r"\W*(label|name|object|caption|description)\W*[:=]\W*(.+)", line, re.IGNORECASE
        )
        if match:
            kind = "label" if match[1].lower() in ("label", "name", "object") else "caption"
            yield kind, match[2].strip('*" ')


def _label(text: str) -> str:
    """Return a short noun phrase: of a sentence, the part before its verb or first preposition."""
    phrase = clean(text, TEXT_LENGTH).strip("\"'`*#-. ")
    phrase = re.sub(
        r"^(?:(?:the|this) (?:region|object|picture|image|outlined \w+|marked \w+) "
        r"(?:is|shows|contains|depicts)|(?:this|it) is|there is)\s+",
        "", phrase, flags=re.IGNORECASE,
    )  # fmt: skip
    phrase = re.sub(r"^(?:an?|the)\s+", "", phrase, flags=re.IGNORECASE)
    if len(phrase.split()) > 4:
        stop = r"\s(?:is|are|was|has|with|on|in|at|of|that|which|who|from|against|lying|sitting)\s"
        phrase = re.sub(r"^\((.*?)\)", r"\1", phrase).lstrip("(,;: ")
        phrase = re.split(rf"[.,;:(]|{stop}", phrase, maxsplit=1, flags=re.IGNORECASE)[0]
    return clean(" ".join(phrase.split()[:8]), LABEL_LENGTH)


def _value(value: object) -> str:
    if isinstance(value, (list, tuple)):
        return ", ".join(filter(None, map(_value, value)))
    if isinstance(value, Mapping):
        return ", ".join(f"{key} {_value(item)}" for key, item in value.items())
    return "" if value is None else " ".join(str(value).split())
