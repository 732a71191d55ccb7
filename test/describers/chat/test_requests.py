"""The requests to a chat server, without the parts that it refuses."""

import json

import cv2
import numpy as np
import pytest

from support.chat_scene import (
    PHOTO,
    ask,
    chat,
    describe,
    one,
    regions_of,
)
from support.chat_server import (
    GOOD,
    WORDS,
    Reply,
    Server,
    completion,
    form,
    pictures,
)

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]


@pytest.mark.parametrize("accepted", ["json", "text"])
@pytest.mark.parametrize(
    "refusal",
    [
        Reply({"error": "'response_format.type' must be 'text'"}, 400),
        Reply('"Invalid response_format"', 400),
        Reply({"detail": "extra fields"}, 422),
        Reply({"error": {"message": "grammar failed"}}, 500),
        Reply({"error": "Failed to process image with schema"}),
    ],
)
def test_a_form_of_the_answer_that_the_server_refuses_is_not_requested_again(accepted, refusal):
    content = WORDS if accepted == "json" else "Red cup\nIt is red."
    taken = Reply(completion(content))
    with Server(lambda request: taken if form(request) == accepted else refusal) as server:
        words, _ = describe(server, 3, max_concurrency=1)
    assert [one.status for one in words] == ["described"] * 3
    forms = [form(request) for request in server.requests]
    assert forms == ["json_schema", "json", "text"][: forms.index(accepted) + 1] + [accepted] * 2


TWO = Reply({"error": {"message": "At most 1 image(s) may be provided in one prompt."}}, 400)
EXTRA = Reply({"detail": [{"type": "extra_forbidden", "loc": ["body", "ttl"]}]}, 422)
VAGUE = Reply({"error": "bad request"}, 400)


@pytest.mark.parametrize("refusal", [TWO, VAGUE, Reply({"error": "At most 1 image is allowed"})])
def test_a_server_that_accepts_one_image_gets_one_from_then_on(refusal):
    def answer(request):
        return GOOD if len(pictures(request)) == 1 else refusal

    with Server(answer) as server:
        words, (warning,) = describe(server, 6, scene_picture=True, max_concurrency=1)
    assert {one.status for one in words} == {"described"}
    assert warning.startswith(f"chat server {server.url}: describer.scene_picture is not used")
    assert [len(pictures(request)) for request in server.requests[-6:]] == [1] * 6
    assert len(server.requests) <= 6 + 3
    assert {form(request) for request in server.requests[-5:]} == {"json_schema"}


@pytest.mark.parametrize("refusal", [EXTRA, VAGUE, Reply({"error": "unknown field: ttl"})])
def test_a_server_that_refuses_ttl_gets_requests_without_it_from_then_on(refusal):
    with Server(lambda request: refusal if "ttl" in request else GOOD) as server:
        words, (warning,) = describe(server, 4, ttl_s=600, max_concurrency=1)
    assert {one.status for one in words} == {"described"}
    assert "describer.ttl_s is not used" in warning
    assert ["ttl" in request for request in server.requests] == [True] + [False] * 4
    assert {form(request) for request in server.requests} == {"json_schema"}


def test_ttl_is_kept_if_only_the_schema_is_refused():
    def answer(request):
        refused = Reply({"error": "'response_format.type' must be 'text'"}, 400)
        return refused if "response_format" in request else GOOD

    with Server(answer) as server:
        _, warnings = describe(server, 3, ttl_s=600, max_concurrency=1)
    assert warnings == ()
    assert [request["ttl"] for request in server.requests] == [600] * 4


MAX_TOKENS = "Unsupported parameter: 'max_tokens' is not supported. Use 'max_completion_tokens'"


def openai(message, **more):
    return Reply({"error": {"message": message, **more}}, 400)


@pytest.mark.parametrize(
    ("parameter", "refusal", "then"),
    [
        ("max_tokens", openai(MAX_TOKENS), {"max_completion_tokens": 300}),
        ("max_tokens", openai("Unsupported parameter", param="max_tokens"),
         {"max_completion_tokens": 300}),
        ("max_tokens", Reply({"detail": [{"type": "extra_forbidden", "loc": ["body", "max_tokens"],
                                          "msg": "Extra inputs are not permitted"}]}, 422),
         {"max_completion_tokens": 300}),
        ("temperature", openai("'temperature' does not support 0.2. Only the default (1)"), {}),
        ("temperature", openai("invalid temperature: only 1 is allowed for this model"), {}),
        ("temperature", openai("error", cause="temperature is deprecated"), {}),
        ("stream", openai("Unrecognized request argument supplied: stream"), {}),
    ],
)  # fmt: skip
@pytest.mark.parametrize("at_once", [1, 4])
def test_a_parameter_that_the_server_refuses_by_name_is_learnt_once(
    parameter, refusal, then, at_once
):
    settings = {"max_tokens": 300, "max_concurrency": at_once, "cache_size": 0}
    with Server(lambda request: refusal if parameter in request else GOOD) as server:
        describer = chat(server, **settings)
        found = [words for _, words in ask(describer, regions_of(8))]
        refused = sum(parameter in request for request in server.requests)
        server.requests.clear()
        found += [words for _, words in ask(describer, regions_of(8))]
        describer.close()
    assert {words.status for words in found} == {"described"}
    assert refused <= at_once
    assert len(server.requests) == 8
    for request in server.requests:
        assert parameter not in request
        assert then.items() <= request.items()
        assert form(request) == "json_schema"
    warned = " ".join(describer.warnings)
    assert ("describer.temperature is not used" in warned) == (parameter == "temperature")


def test_a_server_that_refuses_one_parameter_after_the_other():
    def answer(request):
        for name in (
            "ttl",
            "max_tokens",
            "temperature",
            "response_format",
            "max_completion_tokens",
        ):
            if name in request:
                return openai(f"Unsupported parameter: {name}")
        return Reply(completion("Red cup\nIt is red.")) if form(request) == "text" else VAGUE

    with Server(answer) as server:
        words, warnings = describe(server, 4, ttl_s=60, max_concurrency=1)
    assert {one.status for one in words} == {"described"}
    assert len(server.requests) == 4 + 6
    assert len(warnings) == 3  # ttl_s, temperature, max_tokens


@pytest.mark.parametrize(
    ("refusal", "tokens"),
    [
        ("max_tokens is too large: 400. This model supports at most 64 completion tokens", 64),
        ("maximum context length is 1024 tokens. However, you requested 1300 tokens (900 in the "
         "messages, 400 in the completion)", 116),
    ],
)  # fmt: skip
def test_a_limit_of_tokens_that_is_too_high_is_lowered_once(refusal, tokens):
    def answer(request):
        return GOOD if request["max_tokens"] <= tokens else openai(refusal)

    with Server(answer) as server:
        words, (warning,) = describe(server, 3, max_tokens=400, max_concurrency=1)
    assert {one.status for one in words} == {"described"}
    assert [request["max_tokens"] for request in server.requests] == [400, *[tokens] * 3]
    assert f"describer.max_tokens is {tokens}" in warning


def test_a_server_that_only_streams():
    def answer(request):
        if not request["stream"]:
            return openai(
                "This model only supports stream mode, please enable the stream parameter"
            )
        event = {
            "choices": [{"delta": {"content": "Red cup\nIt is red."}, "finish_reason": "stop"}]
        }
        return Reply(f"data: {json.dumps(event)}\n\ndata: [DONE]\n\n", kind="text/event-stream")

    with Server(answer) as server:
        words, warnings = describe(server, 3, max_concurrency=1)
    assert [one.label for one in words] == ["Red cup"] * 3
    assert warnings == ()
    assert len(server.requests) == 4


def test_the_second_image_is_the_whole_scene_with_the_outline_of_the_region():
    with Server() as server:
        describer = chat(server, scene_picture=True, max_concurrency=1)
        image = cv2.resize(PHOTO, (1600, 1200))
        regions = regions_of(2, image)
        list(describer.describe(image, regions))
        describer.close()
    seen = [
        [cv2.imdecode(np.frombuffer(data, np.uint8), 1) for data in pictures(request)]
        for request in server.requests
    ]
    plain = cv2.resize(image, (768, 576), interpolation=cv2.INTER_AREA)
    for (_, scene), region in zip(seen, regions, strict=True):
        assert scene.shape == (576, 768, 3)
        far = np.abs(scene.astype(int) - plain).max(axis=2) > 60
        assert 10 < far.sum() < 5000  # Only the outline differs.
        ys, xs = np.nonzero(far)
        box = [edge * 768 / 1600 for edge in region.box]
        assert (xs.min() >= box[0] - 8) and (xs.max() <= box[2] + 8)
        assert (ys.min() >= box[1] - 8) and (ys.max() <= box[3] + 8)
    text = server.requests[0]["messages"][0]["content"][0]["text"]
    assert "There are two pictures." in text
    _, _, server = one(GOOD)
    assert "two pictures" not in server.requests[0]["messages"][0]["content"][0]["text"]


def test_a_request_that_is_refused_in_every_form_fails_with_the_reason():
    words, _, server = one(Reply({"error": {"message": "context is full"}}, 400))
    assert words.status == "failed"
    assert words.error == "status 400: context is full"
    assert [form(request) for request in server.requests] == ["json_schema", "json", "text"]


def test_a_prompt_from_a_file_has_its_own_id(tmp_path):
    (tmp_path / "mine.txt").write_text("Name the thing.\n")
    with Server() as server:
        (usual,), _ = describe(server)
        (own,), _ = describe(server, prompt=str(tmp_path / "mine.txt"))
    assert usual.prompt_id != own.prompt_id
    text = server.requests[-1]["messages"][0]["content"][0]["text"]
    assert text.startswith("Name the thing.\n\nAnswer with one JSON object")
