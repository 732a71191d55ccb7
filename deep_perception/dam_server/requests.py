"""Parse and check the chat completion request of a client."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

from deep_perception.dam_server.arrivals import MAX_BODY
from deep_perception.dam_server.errors import RequestError
from deep_perception.dam_server.options import Sampling
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import printable

MAX_TEXT = 4000
# An empty list in a body of JSON takes 3 bytes there and 60 in memory. The characters in the text
# count too; a picture has none of them.
_ITEMS, _MAX_ITEMS = (b"[", b"{", b","), 20_000

_IMAGE_TAG = "<image>"


@dataclass(frozen=True, kw_only=True)
class CompletionRequest:
    """A checked request.

    ``query``: one image tag and the text; ``image_url``: as it was sent, not decoded yet.
    """

    query: str
    image_url: str
    sampling: Sampling


def parse(body: bytes, defaults: Sampling) -> CompletionRequest:
    """Parse a chat completion request; ``defaults`` has the parameters that it does not set.

    Raises RequestError (status 400) with the field, its value and what was expected.
    """
    if sum(map(body.count, _ITEMS)) > _MAX_ITEMS:
        raise _wrong("bad_json", f"the body has more than {_MAX_ITEMS} lists, objects and items")
    try:
        request = read_json(body, limit=MAX_BODY, non_finite=math.nan)
    except UntrustedError as error:
        raise _wrong("bad_json", f"the body {error}") from error
    if not isinstance(request, dict):
        raise _wrong("bad_json", f"the body is {_kind(request)}, expected an object")
    if _get(request, "stream", bool):
        raise _wrong("stream_unsupported", "stream is true, but this server does not stream")
    if _number(request, "n", int, 1, 1) not in (None, 1):
        raise _wrong("bad_value", "n must be 1")
    texts, image_urls = _read_messages(request)
    if len(image_urls) != 1:
        found = "no image" if not image_urls else f"{len(image_urls)} images"
        code = "picture_missing" if not image_urls else "pictures_too_many"
        raise _wrong(code, f"there is {found} in the user's message, expected 1 (image_url)")
    return CompletionRequest(
        query=_query(texts), image_url=image_urls[0], sampling=_sampling(request, defaults)
    )


def _sampling(request: Mapping[str, Any], defaults: Sampling) -> Sampling:
    temperature = _number(request, "temperature", float, 0, 2)
    top_p = _number(request, "top_p", float, 0, 1)
    if top_p == 0:
        raise _wrong("bad_value", "top_p is 0, expected a number above 0, at most 1")
    beams = _number(request, "num_beams", int, 1, 16)
    tokens = _number(request, "max_completion_tokens", int, 1, 1024)
    if tokens is None:
        tokens = _number(request, "max_tokens", int, 1, 1024)
    seed = _number(request, "seed", int, -(2**63), 2**63 - 1)
    sampling = Sampling(
        temperature=float(defaults.temperature if temperature is None else temperature),
        top_p=float(defaults.top_p if top_p is None else top_p),
        num_beams=int(defaults.num_beams if beams is None else beams),
        max_tokens=int(defaults.max_tokens if tokens is None else tokens),
        seed=None if seed is None else int(seed),
    )
    if sampling.temperature == 0:
        # Greedy decoding ignores top_p and seed, so they must not separate batches.
        return replace(sampling, top_p=1.0, seed=None)
    return sampling


def _read_messages(request: Mapping[str, Any]) -> tuple[list[str], list[str]]:
    messages = _get(request, "messages", list)
    if not messages:
        raise _wrong("bad_messages", "messages is empty or missing, expected one user message")
    system: list[str] = []
    user: list[str] = []
    image_urls: list[str] = []
    users = 0
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            raise _wrong("bad_messages", f"{where} is {_kind(message)}, expected an object")
        role = message.get("role")
        if role not in ("system", "developer", "user"):
            raise _wrong(
                "bad_messages", f"{where}.role is {printable(role)}, expected system or user"
            )
        users += role == "user"
        texts, found = _read_content(message.get("content"), f"{where}.content")
        if found and role != "user":
            raise _wrong("bad_messages", f"{where} is a {role} message with an image")
        (user if role == "user" else system).extend(texts)
        image_urls += found
    if users != 1:
        raise _wrong("bad_messages", f"there are {users} user messages, expected 1")
    return system + user, image_urls


def _read_content(content: object, where: str) -> tuple[list[str], list[str]]:
    if isinstance(content, str):
        return [content], []
    if not isinstance(content, list):
        raise _wrong("bad_messages", f"{where} is {_kind(content)}, expected a text or a list")
    texts: list[str] = []
    image_urls: list[str] = []
    for number, part in enumerate(content):
        part = part if isinstance(part, dict) else {}
        kind = part.get("type")
        if kind == "text" and isinstance(part.get("text"), str):
            texts.append(part["text"])
            continue
        image = part.get("image_url")
        url = image.get("url") if isinstance(image, dict) else None
        if kind == "image_url" and isinstance(url, str):
            image_urls.append(url)
            continue
        raise _wrong(
            "bad_messages",
            f'{where}[{number}] is neither {{"type": "text", "text": ...}} nor '
            '{"type": "image_url", "image_url": {"url": ...}}',
        )
    return texts, image_urls


def _query(texts: list[str]) -> str:
    # NVIDIA's server too removes the tag from the text and puts it first.
    parts = [text.strip().removeprefix(_IMAGE_TAG).strip() for text in texts]
    text = "\n".join(part for part in parts if part)
    if _IMAGE_TAG in text:
        raise _wrong("bad_text", f"{_IMAGE_TAG} may stand only once, at the start of the text")
    if not text:
        raise _wrong("bad_text", "there is no text: add one that says what to describe")
    if len(text) > MAX_TEXT:
        raise _wrong("bad_text", f"the text has {len(text)} characters; at most {MAX_TEXT}")
    return f"{_IMAGE_TAG}\n{text}"


def _number(
    request: Mapping[str, Any], name: str, kind: type, low: float, high: float
) -> float | None:
    value = request.get(name)
    if value is None:
        return None
    accepted = (int, float) if kind is float else (int,)
    number = "a number" if kind is float else "a whole number"
    if isinstance(value, bool) or not isinstance(value, accepted) or not low <= value <= high:
        shown = printable(value) if isinstance(value, (int, float)) else _kind(value)
        raise _wrong("bad_value", f"{name} is {shown}, expected {number} from {low} to {high}")
    return value


def _get(request: Mapping[str, Any], name: str, kind: type) -> Any:
    value = request.get(name)
    if value is not None and not isinstance(value, kind):
        expected = "true or false" if kind is bool else "a list"
        raise _wrong("bad_value", f"{name} is {_kind(value)}, expected {expected}")
    return value


def _kind(value: object) -> str:
    names = {dict: "an object", list: "a list", str: "a text", type(None): "null", bool: "a bool"}
    return names.get(type(value), "a number")


def _wrong(code: str, message: str) -> RequestError:
    return RequestError(400, code, message)
