"""Step 1 of reading an answer: from the body of a chat completion to texts and how they ended."""

from __future__ import annotations

import enum
import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deep_perception.describers.server.answers.answer import BadAnswer, ErrorInAnswer
from deep_perception.describers.server.answers.text import clean, error_text
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import read_json


class Ending(enum.Enum):
    """How a model's text ended."""

    WHOLE = "the model came to its end"
    LIMIT = "it reached the limit of tokens"
    CUT = "something else ended it"
    FAILED = "an error or a filter ended it"


# The names of servers for ``finish_reason`` in small letters, without what separates their words.
WHOLE = frozenset(
    [
        "stop",
        "eos",
        "eostoken",
        "eosfound",
        "endturn",
        "endofturn",
        "endoftext",
        "endofsequence",
        "stopsequence",
        "stopword",
        "word",
        "stopstring",
        "stopstringfound",
        "stoptoken",
        "complete",
        "completed",
        "finish",
        "finished",
        "done",
        "success",
        "stopped",
        "stopstr",
        "stoptokenid",
        "stoptokenids",
        "eostokenid",
        "end",
        "ended",
        "normal",
        "natural",
        "toolcall",
        "toolcalls",
        "tooluse",
        "functioncall",
    ]
)
# Before the name: FinishReason.STOP, STOP_REASON_END_TURN.
PREFIX = re.compile(r"^(?:finish|stop)reason(?=.)")
LIMIT = re.compile(r"length|max\w*tokens|contextwindow|tokenlimit|^limit$")
FAILED = re.compile(
    r"error|fail|filter|safety|refus|block|prohibit|moderat|guardrail|recitation|spii|toxic|policy|"
    r"exception|malformed|violation|sensitive"
)


@dataclass(frozen=True)
class Completion:
    """The texts of one answer. ``finish_reason`` is what the server calls its end."""

    content: str
    reasoning: str
    ending: Ending
    finish_reason: str
    model: str


def read_body(body: object) -> Completion:
    """Return the texts in a body.

    Raises BadAnswer if it holds none, and ErrorInAnswer for an error that came with status 200.
    """
    if isinstance(body, str):
        body = _from_string(body)
    if not isinstance(body, Mapping):
        raise BadAnswer(f"the server answered with {type(body).__name__}, not with an object")
    choices = body.get("choices")
    if body.get("error") or (not choices and body.get("object") == "error"):
        raise ErrorInAnswer(error_text(body))
    choice = choices[0] if isinstance(choices, list) and choices else None
    if not isinstance(choice, Mapping):
        raise BadAnswer("the answer has no choices")
    message = choice.get("message") or choice.get("delta")
    if choice.get("error"):
        raise ErrorInAnswer(error_text(choice))
    if not isinstance(message, Mapping):
        raise BadAnswer("the answer has no choices")
    finish_reason, ending = _end_of(body, choice)
    content = _text(message.get("content"))
    refusal = message.get("refusal") or _text(message.get("content"), ("refusal",))
    if refusal:
        raise BadAnswer(f"the model refused: {clean(str(refusal), 120)}")
    content = content if content.strip() else _arguments(message)
    if ending is Ending.FAILED:
        _raise_failed(finish_reason, content)
    names = ("reasoning_content", "reasoning", "reasoning_text", "thinking", "thoughts")
    reasoning = next((text for name in names if (text := _text(message.get(name))).strip()), "")
    model = body.get("model")
    return Completion(
        content,
        reasoning or _text(message.get("content"), ("thinking", "reasoning")),
        ending,
        finish_reason,
        clean(model, 200) if isinstance(model, str) else "",
    )


def _raise_failed(finish_reason: str, content: str) -> None:
    said = f": {clean(content, 200)}" if content.strip() else ""
    reason = clean(finish_reason, 40)
    if re.search("error|fail|exception", finish_reason, re.IGNORECASE):
        raise ErrorInAnswer(f"the answer ended with {reason!r}{said}")
    raise BadAnswer(f"the server withheld the answer (finish_reason {reason!r}){said}")


def _from_string(body: str) -> object:
    """Return the object in a body that is a JSON string with JSON in it. Raises BadAnswer."""
    text = body.lstrip("\ufeff \r\n\t")
    if text.startswith(("{", "[")):
        try:
            return read_json(text)
        except UntrustedError:
            raise BadAnswer("the answer's JSON breaks off") from None
    page = "a web page" if "<html" in text[:500].lower() else "no JSON"
    raise BadAnswer(f"the server answered with {page}; is describer.url right?")


def _name(reason: object) -> str:
    if isinstance(reason, Mapping):  # SGLang's own form.
        reason = reason.get("type") or reason.get("reason") or "unknown"
    return "" if reason is None else str(reason)


def _end_of(body: Mapping[str, Any], choice: Mapping[str, Any]) -> tuple[str, Ending]:
    """Return the reason for the end of a text and what it means.

    A gateway may say "stop" for all that its provider calls something else, and the provider's own
    name counts if it is known.
    """
    details = body.get("incomplete_details")
    if body.get("status") == "incomplete":
        reason = _name(details.get("reason")) if isinstance(details, Mapping) else ""
        return reason or "incomplete", _ending(reason or "incomplete")
    finish_reason = _name(choice.get("finish_reason")) or _said_elsewhere(body, choice)
    native = _name(choice.get("native_finish_reason"))
    ending = _ending(finish_reason)
    if ending is Ending.WHOLE and _ending(native) in (Ending.LIMIT, Ending.FAILED):
        return native, _ending(native)
    return finish_reason, ending


def _said_elsewhere(body: Mapping[str, Any], choice: Mapping[str, Any]) -> str:
    """Return the end of a text where a server has other names for it: llama.cpp, Ollama, Baidu."""
    for part in (choice, body):
        if any(part.get(name) is True for name in ("truncated", "is_truncated", "stopped_limit")):
            return "length"
        if part.get("done") is False:
            return "not done"
        for name in ("done_reason", "stop_type"):
            if isinstance(part.get(name), str) and part[name]:
                return str(part[name])
    return ""


def _ending(finish_reason: str) -> Ending:
    """Return how a text ended. An unknown reason counts as a cut; NVIDIA's DAM server has none."""
    name = PREFIX.sub("", re.sub(r"[\W_]+", "", finish_reason).lower())
    # A number is the token that ended it.
    if not name or name in WHOLE or name.isdigit():
        return Ending.WHOLE
    if FAILED.search(name):
        return Ending.FAILED
    return Ending.LIMIT if LIMIT.search(name) else Ending.CUT


def _text(content: object, kinds: tuple[str, ...] = ("", "text", "output_text")) -> str:
    """Return the text of a content: a string, an object, or a list of parts of some kinds."""
    if isinstance(content, list):
        parts = (_part(part, kinds) for part in content)
        return " ".join(part for part in parts if part)
    if "text" not in kinds or content is None:
        return ""
    if isinstance(content, Mapping):
        return _part(content, kinds) if "type" in content else json.dumps(content)
    return str(content)


def _part(part: object, kinds: tuple[str, ...]) -> str:
    if isinstance(part, str):
        return part if "text" in kinds else ""
    if not isinstance(part, Mapping):
        return ""
    # Gemini's parts have no type.
    kind = "thinking" if part.get("thought") is True else str(part.get("type") or "")
    if kind not in kinds:
        return ""
    found = next((part[name] for name in ("text", *kinds[1:], *kinds[:1]) if part.get(name)), "")
    if isinstance(found, Mapping):
        found = found.get("value", "")
    return _text(found) if isinstance(found, list) else str(found)


def _arguments(message: Mapping[str, Any]) -> str:
    """Return the arguments of a function call, as which some models answer to a schema."""
    calls = message.get("tool_calls")
    call = calls[0] if isinstance(calls, list) and calls else {"function": None}
    function = (call.get("function") if isinstance(call, Mapping) else None) or message.get(
        "function_call"
    )
    arguments = function.get("arguments") if isinstance(function, Mapping) else None
    return json.dumps(arguments) if isinstance(arguments, Mapping) else str(arguments or "")
