"""A chat server that refuses, fails, or is lost and found again."""

import random
import threading
import time
from collections import Counter

import pytest

from deep_perception.analyzer import Analyzer
from deep_perception.describers.server import breaker
from deep_perception.settings.options import settings_from
from support.chat_scene import (
    IMAGE,
    ask,
    chat,
    describe,
    free_port,
    one,
    regions_of,
    shapes,
)
from support.chat_server import (
    DROP,
    GOOD,
    WORDS,
    Reply,
    Server,
    completion,
    picture,
)

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply({"error": {"message": "No models loaded. Please load one."}}, 404), "lms load"),
        (Reply({"error": "No models loaded"}, 400), "lms load"),
        (Reply({"error": "No models loaded"}), "lms load"),
        (Reply({"error": "this model does not support images"}, 400), "text only"),
        (Reply({"error": "bad token s3cret"}, 401), "LM_API_TOKEN is not accepted"),
    ],
)
def test_an_unusable_server_causes_a_warning_and_gets_no_more_requests(reply, reason, monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "s3cret")
    with Server(lambda request: reply) as server:
        words, (warning,) = describe(server, 12, fallback="attributes", max_concurrency=1)
    assert reason in warning
    assert warning.endswith("'attributes' is used instead")
    assert "s3cret" not in warning
    assert {one.describer for one in words} == {"attributes"}
    assert {one.status for one in words} == {"described"}
    assert len(server.requests) <= 3


NO_IMAGES = (
    (400, {"error": {"message": "Qwen/Qwen3-8B is not a multimodal model"}}),
    (400, {"error": {"message": "messages[0]: data did not match any variant of untagged enum "
                                "ChatCompletionRequestContent"}}),
    (400, {"error": {"message": "Invalid image. The model does not support vision input."}}),
    (422, {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "str type expected"}]}),
    (400, {"error": {"message": "Unsupported modality: image"}}),
    (400, {"error": {"message": "messages.content.type 参数非法，取值范围 ['text']"}}),
    (500, {"error": {"message": "missing data required for image input"}}),
    (500, "this model is missing data required for image input"),
    (404, {"error": {"message": "No endpoints found that support image input", "code": 404}}),
    (400, {"error": {"message": "messages[0]: unknown variant `image_url`, expected `text`"}}),
    (400, {"error": {"message": "Invalid content type. image_url is only supported by some."}}),
    (400, {"error": {"message": "messages[0].content must be a string"}}),
    (422, {"detail": [{"loc": ["body", "messages", 0, "content"], "msg": "Input should be a valid "
                       "string"}]}),
    (400, {"message": "At most 0 image(s) may be provided in one request."}),
    (400, {"error": {"message": "Model 'x' does not have vision capabilities"}}),
    (422, {"detail": [{"msg": "'image_url' is not one of ['text']"}]}),
    (400, {"error": "unsupported message content type: image_url"}),
    (415, {"error": "vision is disabled: no projector is loaded"}),
    (500, {"error": {"message": "image input is not supported - hint: you may need the mmproj"}}),
    (400, {"error": {"code": "MODEL_DOES_NOT_SUPPORT_IMAGES", "message": "attachment-error"}}),
    (400, {"error": {"message": "can only concatenate str (not \"list\") to str"}}),
    (400, {"error": {"message": "Provider returned error",
                     "metadata": {"raw": "this model does not accept image input"}}}),
    (400, {"error": {"message": "当前模型不支持图片，请切换模型后重试"}}),
    (200, {"error": {"message": "The model is text-only"}}),
    (200, completion("Error: this model does not support images")),
)  # fmt: skip


@pytest.mark.parametrize(("status", "body"), NO_IMAGES)
def test_a_server_that_takes_no_images_is_left_alone_with_one_warning(status, body):
    with Server(lambda request: Reply(body, status)) as server:
        words, warnings = describe(server, 6, fallback="attributes", max_concurrency=2)
    assert {one.describer for one in words} == {"attributes"}
    (warning,) = warnings
    assert "takes text only" in warning
    assert len(server.requests) <= 2


@pytest.mark.parametrize(
    "message",
    [
        "Invalid image: this image format is not supported",
        "image exceeds 5 MB maximum: images of this size are not supported",
        "images this small are not supported",
        "This image is not supported by our safety policy",
        "The file is not a valid image",
        "failed to decode image",
        "Could not process image",
    ],
)
def test_one_image_that_the_server_refuses_costs_one_region(message):
    def answer(request):
        first = picture(request) == picture(server.requests[0])
        return Reply({"error": {"message": message}}, 400) if first else GOOD

    with Server(answer) as server:
        words, warnings = describe(server, 4, max_concurrency=1)
    assert [one.status for one in words] == ["failed"] + ["described"] * 3
    assert warnings == ()


@pytest.mark.parametrize(
    "trouble",
    [
        DROP,
        Reply(completion(WORDS), cut=20),
        Reply('{"choices": [{"mess'),
        Reply({"error": "busy"}, 429, {"Retry-After": "0"}),
        Reply("", 503),
        Reply({"error": "gateway"}, 504),
    ],
)
def test_a_request_without_an_answer_is_retried(trouble):
    replies = iter([trouble, trouble, GOOD])
    with Server(lambda request: next(replies)) as server:
        (words,), warnings = describe(server)
    assert words.status == "described"
    assert warnings == ()
    assert len(server.requests) == 3


def test_a_short_retry_after_is_respected_and_a_long_one_ends_the_attempts():
    replies = iter([Reply("", 429, {"Retry-After": "0.3"}), GOOD])
    started = time.monotonic()
    with Server(lambda request: next(replies)) as server:
        (words,), _ = describe(server)
    assert words.status == "described"
    assert time.monotonic() - started >= 0.3
    words, (warning,), server = one(Reply("", 429, {"Retry-After": "900"}))
    assert words.error == "status 429"
    assert len(server.requests) == 1
    assert "status 429" in warning


def test_300_regions_and_a_server_that_fails_one_time_in_five():
    dice = random.Random(7)
    trouble = [
        DROP, Reply(completion(WORDS), cut=30), Reply("", 503), Reply("", 429), Reply("", 500),
        Reply("<html>", kind="text/html"), Reply('{"choices": [{'), Reply(completion("")),
        Reply({"error": "oops"}), Reply(completion("red " * 40)), Reply('"no"', 400),
    ]  # fmt: skip
    lock = threading.Lock()

    def answer(request):
        time.sleep(0.01)
        with lock:
            return dice.choice(trouble) if dice.random() < 0.2 else GOOD

    regions = regions_of(300)
    with Server(answer) as server:
        describer = chat(server, max_concurrency=8)
        found = ask(describer, regions)
        describer.close()
    assert sorted(region.index for region, _ in found) == list(range(1, 301))
    statuses = Counter(words.status for _, words in found)
    assert set(statuses) <= {"described", "failed"}
    assert statuses["described"] >= 270
    assert 1 < server.most <= 8


# -- lost and found ------------------------------------------------------------------------------


def test_the_fallback_describes_while_the_server_is_away(monkeypatch):
    monkeypatch.setattr(breaker, "COOL_DOWN_S", 0.0)
    port = free_port()
    settings = settings_from(
        {
            "describer.backend": "chat",
            "describer.url": f"http://127.0.0.1:{port}/v1",
            "describer.cache_size": 0,
        }
    )
    with Analyzer(settings) as analyzer:
        assert analyzer.models.warnings == ()
        for _ in range(2):  # The server is away, there, and away again.
            away = analyzer.analyze(shapes())
            assert {one.description.describer for one in away.regions} == {"attributes"}
            assert {one.description.status for one in away.regions} == {"described"}
            (warning,) = away.warnings
            assert f"chat server http://127.0.0.1:{port}/v1: no connection" in warning
            assert warning.endswith("; 'attributes' is used instead")
            with Server(port=port):
                back = analyzer.analyze(shapes())
            assert {one.description.describer for one in back.regions} == {"chat"}
            assert back.warnings == analyzer.models.warnings == ()


def test_a_server_that_is_lost_in_the_middle_of_a_scene():
    seen = []

    def answer(request):
        seen.append(1)
        return GOOD if len(seen) <= 5 else DROP

    with Server(answer) as server:
        words, (warning,) = describe(server, 24, fallback="attributes", max_concurrency=2)
    assert Counter(one.describer for one in words) == {"chat": 5, "attributes": 19}
    assert {one.status for one in words} == {"described"}
    assert "for 19 of 24 regions" in warning
    # Because of the breaker, not all of the 19 regions are sent four times.
    assert len(seen) <= 5 + 4 * (breaker.FAILURES + 1)


def test_an_open_breaker_asks_nothing_and_half_open_asks_for_one_region(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(breaker, "clock", lambda: clock[0])
    healthy = []
    with Server(lambda request: GOOD if healthy else DROP) as server:
        describer = chat(server, fallback="attributes", max_concurrency=4)

        def counts():
            server.requests.clear()
            found = ask(describer, regions_of(12))
            assert len({region.index for region, _ in found}) == 12
            return Counter(words.describer for _, words in found), len(server.requests)

        assert counts()[0] == {"attributes": 12}
        clock[0] += breaker.COOL_DOWN_S - 1
        assert counts() == ({"attributes": 12}, 0)
        clock[0] += 1
        assert counts() == ({"attributes": 12}, 1)  # One region probes the server.
        clock[0] += breaker.COOL_DOWN_S
        assert counts() == ({"attributes": 12}, 0)  # The second cool-down is longer.
        clock[0] += breaker.COOL_DOWN_S
        healthy.append(True)
        assert counts() == ({"chat": 12}, 12)
        assert describer.warnings == ()
        describer.close()


def test_the_watch_finds_a_lost_server_after_a_cancelled_scene(monkeypatch):
    """Without another scene, only the watch can find the server."""
    monkeypatch.setattr(breaker, "COOL_DOWN_S", 0.05)
    back = threading.Event()

    def answer(request):
        if len(server.requests) == 1:
            return Reply({"error": {"message": "No models loaded."}}, 404)
        back.wait(60)
        return GOOD

    with Server(answer) as server:
        describer = chat(server, max_concurrency=4)
        try:
            words = describer.describe(IMAGE, regions_of(4))
            ends = time.monotonic() + 60
            while describer.available and time.monotonic() < ends:
                next(words)
            assert not describer.available
            words.close()
            back.set()
            while not describer.available and time.monotonic() < ends:
                time.sleep(0.02)
            assert describer.available
        finally:
            back.set()
            describer.close()
