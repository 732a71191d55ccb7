"""How the answers of a chat server become descriptions: good, bad and truncated ones."""

import json

import cv2
import numpy as np
import pytest

from support.chat_scene import (
    describe,
    one,
)
from support.chat_server import (
    GOOD,
    WORDS,
    Reply,
    Server,
    completion,
    form,
    picture,
)

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]


def test_words_label_attributes_model_and_prompt():
    words, warnings, server = one(Reply(completion(WORDS, model="qwen-vl:2")))
    assert (words.status, words.label, words.text) == (
        "described", "red cup", "A red cup with a white rim.",
    )  # fmt: skip
    assert words.attributes["material"] == "ceramic"
    assert words.attributes["attributes"] == "glossy, round"
    assert (words.describer, words.model) == ("chat", "qwen-vl:2")
    assert len(words.prompt_id) == 12
    assert words.latency_s > 0
    assert not words.truncated
    assert warnings == ()
    (request,) = server.requests
    assert request["model"] == "qwen-vl"
    assert form(request) == "json_schema"
    assert "everything else is darkened" in request["messages"][0]["content"][0]["text"]
    assert max(cv2.imdecode(np.frombuffer(picture(request), np.uint8), 1).shape) <= 768


JSON = json.dumps(WORDS)


@pytest.mark.parametrize(
    ("reply", "label"),
    [
        (completion(f"```json\n{JSON}\n```"), "red cup"),
        (completion(f"Here you are:\n{JSON}\nAnything else?"), "red cup"),
        (completion(f"<think>hm {{}} a cup?</think>{JSON}"), "red cup"),
        (completion(f"Maybe {JSON.replace('red', 'blue')}? No.\n</think>\n{JSON}"), "red cup"),
        (completion("", reasoning_content=JSON), "red cup"),
        (completion([{"type": "text", "text": JSON}]), "red cup"),
        (completion({"name": "cup", "description": "It is white."}), "cup"),
        (completion({"label": "", "caption": "A white cup."}), "white cup"),
        # Complete, although the limit was reached: only text after the object is missing.
        (completion(f"{JSON}\nI hope that", reason="length"), "red cup"),
        # Plain text.
        (completion("A white cup with a blue handle on a table."), "white cup"),
        (completion("White cup\nIt is made of china."), "White cup"),
        (completion("**Label:** cup\n**Caption:** It is white."), "cup"),
    ],
)
def test_forms_of_good_answers(reply, label):
    words, _, server = one(Reply(reply))
    assert (words.status, words.label, words.truncated) == ("described", label, False)
    assert words.text
    assert len(server.requests) == 1


def test_a_label_may_begin_with_a_bracket():
    reply = Reply(completion({**WORDS, "label": "(red) mug on the table top"}))
    words, _, _ = one(reply)
    assert (words.status, words.label) == ("described", "red mug")


# -- bad answers ----------------------------------------------------------------------------------


PROMPT_WORDS = "one region of it is marked by a thin magenta-and-white outline"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(completion("")), "the answer is empty"),
        (Reply(completion(None, reasoning=f"I think {JSON}")), "the model only thinks"),
        (Reply(completion("A cup.", reason="content_filter")), "withheld the answer"),
        (Reply(completion(None)), "the answer is empty"),
        (Reply(completion({"label": "", "caption": " "})), "the answer is empty"),
        (Reply(completion("", reason="length")), "raise it, or turn the model's thinking off"),
        (Reply(completion("I'm sorry, but I can't help with that.")), "the model refused"),
        (Reply(completion("", refusal="No faces.")), "the model refused: No faces."),
        (Reply(completion("red red red red red red")), "repeats itself"),
        (Reply(completion("a cup on a table " * 5)), "repeats itself"),
        (Reply(completion(PROMPT_WORDS)), "repeats the question"),
        (Reply(completion({"label": "noun phrase", "caption": "the sentence"})), "repeats the q"),
        (Reply(completion({"label": "string", "caption": "string"})), "repeats the question"),
        (Reply(completion('{"lab')), "broken JSON"),
        (Reply(completion('{"x": 1}')), "JSON without a label"),
        (Reply({"choices": []}), "no choices"),
        (Reply({"choices": [{"finish_reason": "stop"}]}), "no choices"),
        (Reply("[1, 2]"), "answered with list"),
        (Reply("<!doctype html><html>", kind="text/html"), "a web page; is describer.url right?"),
    ],
)
def test_after_a_bad_answer_a_second_request_has_another_image(reply, reason):
    words, warnings, server = one(reply)
    assert words.status == "failed"
    assert reason in words.error
    assert words.text == words.label == ""
    assert warnings == ()  # The server works.
    first, second = server.requests
    assert picture(first) != picture(second)


def test_a_good_second_answer_is_used():
    replies = iter([Reply(completion("")), GOOD])
    with Server(lambda request: next(replies)) as server:
        (words,), _ = describe(server)
    assert words.status == "described"


# -- truncated answers ----------------------------------------------------------------------------


CUT = [
    ('{"label": "cup", "caption": "A white cup. It st', "cup", "A white cup."),
    ('{"label": "cup", "caption": "A wh', "cup", "cup"),
    ('{"label": "cup", "caption": "It is white.", "category": "contai', "cup", "It is white."),
    ("This is a cat. It has wh", "cat", "This is a cat."),
    ("This is a cat.", "cat", "This is a cat."),
    ("White cup\nIt is made of", "White cup", "White cup"),
    ("**Label:** cup\n**Caption:** It is wh", "cup", "cup"),
]


@pytest.mark.parametrize(("content", "label", "text"), CUT)
def test_the_complete_part_of_an_answer_that_is_truncated_twice_is_used(content, label, text):
    words, warnings, server = one(Reply(completion(content, reason="length")))
    assert (words.status, words.label, words.text) == ("described", label, text)
    assert words.truncated
    assert warnings == ()
    first, second = server.requests
    assert picture(first) != picture(second)


@pytest.mark.parametrize(("content", "label", "text"), CUT)
def test_after_a_truncated_answer_a_second_request_is_sent(content, label, text):
    replies = iter([Reply(completion(content, reason="length")), GOOD])
    with Server(lambda request: next(replies)) as server:
        (words,), _ = describe(server)
    assert (words.label, words.truncated) == ("red cup", False)
    assert len(server.requests) == 2


@pytest.mark.parametrize("then", [Reply(completion("")), Reply("", 500), Reply('{"choices": [{')])
def test_a_truncated_answer_is_better_than_none(then):
    replies = [Reply(completion("This is a cat. It has", reason="length"))]
    with Server(lambda request: replies.pop() if replies else then) as server:
        (words,), _ = describe(server)
    assert (words.status, words.label, words.truncated) == ("described", "cat", True)


@pytest.mark.parametrize(
    ("content", "reason", "error"),
    [
        ('{"label": "cu', "length", "breaks off at describer.max_tokens: raise it"),
        ("A white cup with a", "length", "breaks off at describer.max_tokens: raise it"),
        ("... a red cup that", "length", "breaks off at describer.max_tokens: raise it"),
        ("**. A red", "length", "breaks off at describer.max_tokens: raise it"),
        ("1. A red cup that", "length", "breaks off at describer.max_tokens: raise it"),
        ('{"label": "cu', "stop", "the answer's JSON breaks off"),
        ("red " * 50, "length", "repeats itself"),
        ('{"label": "cup", "caption": "' + "a cup on a table " * 9, "length", "repeats itself"),
    ],
)
def test_a_truncated_answer_without_a_complete_part_fails(content, reason, error):
    words, _, server = one(Reply(completion(content, reason=reason)))
    assert words.status == "failed"
    assert error in words.error
    assert len(server.requests) == 2
