"""Whatever a server sends, what comes out is a description or a typed failure."""

import json
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.describers.cache.rows import ANSWER, read_row, write_row
from deep_perception.describers.dam.health import health_of
from deep_perception.describers.server.answers import (
    Answer,
    BadAnswer,
    ErrorInAnswer,
    error_text,
    parse_answer,
)
from deep_perception.describers.server.bodies import decode_body, decode_text, page_title
from deep_perception.describers.server.listing import ChosenModel, NoUsableModel, choose_model
from deep_perception.redaction import scrub_content
from deep_perception.regions import Description
from support.chat_server import WORDS, completion, lm_studio

pytestmark = pytest.mark.fuzz

LEAVES = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(st.characters(), max_size=20)
    | st.sampled_from(
        ["text", "stop", "length", "{", '{"label": "a", "caption": "b"}', "<think>", "</s>", "```",
         "\x1b[31m", "\u202e", "\ud800", "error", "1. ", "|a|b|", "loaded", "vlm", "only"]
    )
)  # fmt: skip
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=4)
    | st.dictionaries(
        st.sampled_from(
            ["choices", "message", "delta", "content", "error", "model", "type", "text", "id",
             "key", "tool_calls", "function", "arguments", "label", "caption", "models", "data",
             "state", "loaded_instances", "capabilities", "vision", "config", "parallel",
             "finish_reason"]
        )
        | st.text(st.characters(), max_size=5),
        inner,
        max_size=5,
    ),
    max_leaves=20,
)  # fmt: skip
LISTINGS = {
    "/api/v1/models": {"models": [lm_studio(), lm_studio("only", loaded=False)]},
    "/api/v0/models": {"data": [{"id": "only", "type": "vlm", "state": "loaded"}]},
    "/v1/models": {"data": [{"id": "only", "capabilities": ["vision"]}, {"id": "b"}, "c"]},
}


def places(value, path=()):
    """Every place in a value of JSON, as a tuple of keys and indices."""
    yield path
    if isinstance(value, (dict, list)):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*path, key))


def replaced(value, path, new):
    """A copy of a value with another one at a place."""
    if not path:
        return new
    copy = dict(value) if isinstance(value, dict) else list(value)
    copy[path[0]] = replaced(value[path[0]], path[1:], new)
    return copy


def is_plain(text):
    """Whether a text is one line without control characters and marks of direction."""
    return not any(
        unicodedata.category(char) in ("Cc", "Cs", "Zl", "Zp") or char in "\u202a\u202e\u2066\u200f"
        for char in text
    )


def read(data, kind=""):
    """Read a body as the client and the describers do; return the answer or the failure's text."""
    try:
        body = scrub_content(decode_body(data, kind))
    except ValueError as error:
        page_title(decode_text(data, kind))
        return str(error)
    assert is_plain(error_text(body))
    try:
        return parse_answer(body, "Describe the object in the region.")
    except (BadAnswer, ErrorInAnswer) as error:
        return str(error)


def check(result):
    if isinstance(result, Answer):
        words = Description(
            status="described", label=result.label, text=result.text, model=result.model,
            attributes=result.attributes,
        )  # fmt: skip
        # The cache accepts what a fresh answer may be.
        assert read_row(write_row(words, ANSWER).encode(), ANSWER) == words
        assert all(map(is_plain, (result.label, result.text, result.model)))


@given(st.binary(max_size=200), st.text(st.characters(codec="latin-1"), max_size=20))
def test_bytes_are_an_answer_or_a_failure(data, charset):
    check(read(data, f"text/plain; charset={charset}"))


BODY = completion(json.dumps(WORDS), reasoning_content="a thought", tool_calls=[{"function": {}}])


@given(st.sampled_from(sorted(places(BODY), key=repr)), VALUES)
def test_a_completion_with_anything_at_any_place_is_an_answer_or_a_failure(path, value):
    check(read(json.dumps(replaced(BODY, path, value)).encode()))


@given(
    st.lists(
        st.text(st.characters(), max_size=20)
        | LEAVES.map(str)
        | VALUES.map(json.dumps)
        | VALUES.map(repr)
    ).map("".join),
    st.sampled_from(["stop", "length", "weird"]),
)
def test_any_text_of_a_model_is_an_answer_or_a_failure(content, reason):
    check(read(json.dumps(completion(content, reason=reason)).encode()))


@given(st.lists(VALUES, max_size=5), st.sampled_from(["data: {}\n\n", "{}\n", "data:{}\r\n"]))
def test_a_stream_of_anything_is_an_answer_or_a_failure(events, line):
    parts = [*events, {"choices": [{"delta": {"content": "A red cup."}, "finish_reason": "stop"}]}]
    check(read("".join(line.format(json.dumps(part)) for part in parts).encode()))


@pytest.mark.parametrize("path", LISTINGS)
@given(data=st.data(), value=VALUES, wanted=st.sampled_from(["", "only", "other"]))
def test_a_list_with_anything_at_any_place_chooses_a_model_or_says_why_not(
    path, data, value, wanted
):
    place = data.draw(st.sampled_from(sorted(places(LISTINGS[path]), key=repr)))
    text = json.dumps(replaced(LISTINGS[path], place, value))
    try:
        chosen = choose_model(path, decode_body(text.encode()), wanted)
    except NoUsableModel as error:
        assert is_plain(str(error))
        assert len(str(error)) < 3000
    except ValueError:
        pass  # The body is no JSON; see the client.
    else:
        assert chosen is None or (isinstance(chosen, ChosenModel) and is_plain(chosen.name))


@given(VALUES.map(json.dumps) | st.dictionaries(st.just("status"), VALUES).map(json.dumps))
def test_anything_may_answer_where_a_dam_server_is_expected(text):
    health = health_of(text.encode())
    assert health.kind in ("other", "loading", "ready", "failed", "stopping")
    assert is_plain(health.error)
