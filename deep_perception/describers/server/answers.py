"""From what a chat server answered to a label, a sentence and attributes, or why there are none."""

from __future__ import annotations

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from deep_perception.describers.server.answer_checks import problem, whole_sentences

LABEL_LENGTH, TEXT_LENGTH, VALUE_LENGTH = 60, 600, 120
UNKNOWN = ("", "unknown", "none", "n/a", "null")

# Flat and bounded: small models follow it, and a grammar made of it stays small.
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
    """The server answered, but not with words of this region; the message says with what."""


class SaidError(Exception):
    """The answer has status 200 and holds an error."""


@dataclass(frozen=True)
class Answer:
    """Words that passed the checks; ``truncated``: more was to come, this much of it is whole."""

    label: str
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    truncated: bool = False


def read(body: object, prompt: str) -> Answer:
    """The words in the body of a chat completion.

    Raises BadAnswer for what is none or no description, SaidError for an error with status 200.
    """
    if isinstance(body, str):
        page = "a web page" if "<html" in body[:500].lower() else "no JSON"
        raise BadAnswer(f"the server answered with {page}; is describer.url right?")
    if not isinstance(body, Mapping):
        raise BadAnswer(f"the server answered with {type(body).__name__}, not with an object")
    choices = body.get("choices")
    if not choices and body.get("error"):
        raise SaidError(error_text(body))
    choice = choices[0] if isinstance(choices, list) and choices else None
    message = choice.get("message") if isinstance(choice, Mapping) else None
    if not isinstance(choice, Mapping) or not isinstance(message, Mapping):
        raise BadAnswer("the answer has no choices")
    at_limit = choice.get("finish_reason") == "length"
    there, whole = _words(_content(message, at_limit), at_limit)
    wrong = problem(there.label, there.text, prompt)
    if wrong:
        raise BadAnswer(wrong)
    if whole is None:
        raise BadAnswer(
            "the answer breaks off at describer.max_tokens: raise it"
            if at_limit
            else "the answer's JSON breaks off"
        )
    model = body.get("model")
    return dataclasses.replace(whole, model=clean(model, 200) if isinstance(model, str) else "")


def error_text(body: object) -> str:
    """The message of an error body: a dict of some depth, a string, or nothing."""
    while isinstance(body, Mapping):
        body = body.get("error") or body.get("message") or body.get("detail") or json.dumps(body)
    return clean(str(body or ""), 300)


def clean(text: str, length: int) -> str:
    """One line without control characters: words are input from outside, for people and agents."""
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
    # Some engines put the forced JSON of a thinking model where its thoughts go.
    thoughts = str(message.get("reasoning_content") or message.get("reasoning") or "")
    if _object(thoughts) is not None:
        return thoughts
    if at_limit:
        raise BadAnswer(
            "the model came to no answer within describer.max_tokens: raise it, or turn the "
            "model's thinking off"
        )
    raise BadAnswer("the answer is empty")


def _words(content: str, at_limit: bool) -> tuple[Answer, Answer | None]:
    """What is there, and the part of it that does not break off: all, some of it, or None."""
    found = _object(content)
    if found is not None:  # also at the limit: what was to come is chatter
        answer = _from_object(found)
        return answer, answer
    if content.lstrip("`json \n").startswith("{"):
        closed, broken = _salvage(content)
        if not closed and not broken:
            raise BadAnswer("the answer is broken JSON")
        there = _from_object({**closed, **broken})
        caption = whole_sentences(broken.get("caption", ""))
        whole = {**closed, **({"caption": caption} if caption else {})}
        return there, _cut(_from_object(whole)) if whole.get("label") else None
    there = _from_text(content)
    if not at_limit:
        return there, there
    *lines, last = content.strip().splitlines()
    rest = "\n".join([*lines, whole_sentences(last)]).strip()
    # What is left of "1. A red cup that" is no sentence.
    kept = _from_text(rest) if re.search(r"[^\W\d]", rest) else None
    return there, _cut(kept) if kept and kept.label else None


def _cut(answer: Answer) -> Answer:
    return dataclasses.replace(answer, truncated=True)


def _object(text: str) -> Mapping[str, Any] | None:
    """The first JSON object in a text: fences and chatter around it are common."""
    for match in re.finditer(r"\{", text):
        try:
            found, _ = json.JSONDecoder().raw_decode(text, match.start())
        except ValueError:
            continue
        return found if isinstance(found, Mapping) else None
    return None


def _salvage(text: str) -> tuple[dict[str, str], dict[str, str]]:
    """What a JSON object that breaks off says up to there: whole strings, and the broken one."""
    closed: dict[str, str] = {}
    broken: dict[str, str] = {}
    for key in ("label", "caption", "color", "category", "material"):
        match = re.search(rf'"{key}"\s*:\s*"((?:[^"\\]|\\.)*)("?)', text)
        if match:
            into = closed if match[2] else broken
            try:
                into[key] = str(json.loads(f'"{match[1]}"', strict=False))
            except ValueError:
                into[key] = match[1]
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
    """A short noun phrase: of a sentence, what comes before its verb or first preposition."""
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
