"""Descriptions from a chat server over real HTTP, with all answers that real servers gave."""

import json
import logging
import random
import threading
import time
from collections import Counter

import cv2
import numpy as np
import pytest

from deep_perception import analyzer as analyzer_module
from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.backends import BackendUnavailable
from deep_perception.describers.chat import Chat
from deep_perception.describers.server import breaker
from deep_perception.describers.server import describer as describer_module
from deep_perception.description import PendingRegions
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings.options import settings_from
from support.chat_scene import (
    IMAGE,
    PATIENCE_S,
    PHOTO,
    Counted,
    MovedClock,
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
    form,
    lm_studio,
    picture,
    pictures,
)

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]

# -- answers ------------------------------------------------------------------------------------


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
        (completion("", reasoning_content=JSON), "red cup"),
        (completion(None, reasoning=f"I think {JSON}"), "red cup"),
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


PROMPT_WORDS = "one region of it is marked by a thin magenta-and-white outline"


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply(completion("")), "the answer is empty"),
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


def test_a_region_fails_at_its_timeout():
    stop = threading.Event()
    with Server(lambda request: (stop.wait(PATIENCE_S), GOOD)[1]) as server:
        try:
            (words,), (warning,) = describe(server, region_timeout_s=0.2)
        finally:
            stop.set()
    assert words.status == "failed"
    assert "0.2 s" in words.error or "in time" in words.error
    assert server.url in warning


def test_at_the_scene_deadline_the_rest_stays_pending(monkeypatch):
    stop, clock = threading.Event(), MovedClock(monkeypatch, analyzer_module)
    settings = settings_from(
        {
            "describer.backend": "chat",
            "describer.fallback": "",
            "describer.max_concurrency": 1,
            "describer.scene_deadline_s": PATIENCE_S,
            "sweep.max_regions": 8,
        }
    )

    def answer(request):
        if len(server.requests) > 3:
            describer.wait_for(3)
            clock.forward(PATIENCE_S)
            stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer) as server:
        settings.describer.url = server.url
        with Analyzer(settings) as analyzer:
            describer = analyzer.models.describer = Counted(analyzer.models.describer)
            try:
                scene = analyzer.analyze(PHOTO)
            finally:
                stop.set()
    statuses = Counter(region.description.status for region in scene.regions)
    assert statuses == {"described": 3, "pending": 5}
    assert not scene.complete


def test_the_first_region_is_described_before_the_sweep_ends():
    order = []

    class Slow(Superpixels):
        def masks(self, embedding, points):
            if order:
                describer.wait_for(1)
            order.append("swept")
            return super().masks(embedding, points)

    settings = settings_from({"describer.backend": "chat", "describer.fallback": ""})
    with Server() as server:
        settings.describer.url = server.url
        with Analyzer(settings) as analyzer:
            analyzer.models.segmenter = Slow()
            describer = analyzer.models.describer = Counted(analyzer.models.describer)
            analyzer.analyze(
                PHOTO, callbacks=Callbacks(on_region=lambda region: order.append("described"))
            )
    assert order.index("described") < len(order) - 1 - order[::-1].index("swept")


# -- readiness ----------------------------------------------------------------------------------

V1, V0, ANY = "/api/v1/models", "/api/v0/models", "/v1/models"
VLM = {"id": "old-vl", "type": "vlm", "state": "loaded"}


@pytest.mark.parametrize(
    ("path", "body", "wanted", "asked"),
    [
        (V1, {"models": [lm_studio("t", vision=False), lm_studio("v")]}, "", "v"),
        (V1, {"models": [lm_studio("v"), lm_studio("w")]}, "w", "w"),
        (V0, {"data": [{**VLM, "id": "x", "state": "not-loaded"}, VLM]}, "", "old-vl"),
        (ANY, {"data": [{"id": "only"}, {"id": "nomic-embed"}]}, "", "only"),
        (ANY, {"data": [{"id": "a"}, {"id": "b"}]}, "b", "b"),
        ("/none", {}, "named", "named"),
    ],
)
def test_the_model_that_is_chosen(path, body, wanted, asked):
    with Server(listings={path: Reply(body)}) as server:
        (words,), warnings = describe(server, model=wanted)
    assert words.status == "described"
    assert warnings == ()
    assert server.requests[0]["model"] == asked


@pytest.mark.parametrize(
    ("path", "body", "wanted", "advice"),
    [
        (V1, {"models": []}, "", "no model is loaded; download a vision model in LM Studio"),
        (V1, {"models": [lm_studio("v", loaded=False)]}, "", "run: lms load v"),
        (V1, {"models": [lm_studio("v", loaded=False)]}, "v", "model 'v' is not loaded: load it"),
        (V1, {"models": [lm_studio("t", vision=False)]}, "", "'t' takes text only; download"),
        (V1, {"models": [lm_studio("t", vision=False), lm_studio("v")]}, "t", "model to 'v'"),
        (V1, {"models": [lm_studio("qwen-vl")]}, "qwen_vl", "did you mean 'qwen-vl'?"),
        (V0, {"data": [{**VLM, "state": "not-loaded"}]}, "", "lms load old-vl"),
        (V0, {"data": [{**VLM, "type": "llm"}]}, "", "takes text only"),
        (ANY, {"data": [{"id": "a"}, {"id": "b"}]}, "", "the server has a, b"),
        (ANY, {"data": []}, "", "the server lists no model"),
        ("/none", {}, "", "does not list its models: set describer.model"),
    ],
)
def test_the_warning_about_an_unusable_model_says_what_to_do(path, body, wanted, advice):
    with Server(listings={path: Reply(body)}) as server:
        words, (warning,) = describe(server, 3, model=wanted)
    assert advice in warning
    assert all(one.status == "failed" and advice in one.error for one in words)
    assert server.requests == []


def test_the_token_is_sent_and_never_logged(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_TOKEN", "s3cret-token")
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    reply = Reply({"error": {"message": "Incorrect key s3cret-token"}}, 400)
    with Server(lambda request: reply) as server:
        (words,), _ = describe(server, api_key_env="MY_TOKEN")
    assert server.headers[0]["authorization"] == "Bearer s3cret-token"
    assert words.error == "status 400: Incorrect key ***"
    ours = [record for record in caplog.records if record.name.startswith("deep_perception")]
    assert "s3cret" not in " ".join(record.getMessage() for record in ours)


# -- many at once -------------------------------------------------------------------------------


@pytest.mark.parametrize(("said", "setting", "most"), [(None, 0, 4), (2, 0, 2), (2, 8, 8)])
def test_the_concurrency_is_that_of_the_server_or_of_the_setting(said, setting, most):
    listings = {V1: Reply({"models": [lm_studio(parallel=said)]})}
    all_here = threading.Barrier(most)

    def answer(request):
        # A group is answered when all its requests have arrived.
        all_here.wait(PATIENCE_S)
        return GOOD

    with Server(answer, listings) as server:
        words, _ = describe(server, 24, max_concurrency=setting)
    assert len(words) == 24
    assert {one.status for one in words} == {"described"}
    assert server.most == most
    assert len(server.requests) == 24
    assert len({picture(request) for request in server.requests}) == 24


def test_regions_arrive_as_they_are_ready_and_the_largest_is_first():
    go = threading.Event()
    first = []

    def answer(request):
        if len(first) >= 1:
            go.wait(PATIENCE_S)
        first.append(1)
        return GOOD

    regions = regions_of(6)
    waiting = PendingRegions()
    for region in regions:
        waiting.add(region)
    waiting.end()
    with Server(answer) as server:
        describer = chat(server, max_concurrency=1)
        words = filter(None, describer.describe(IMAGE, waiting))
        region, _ = next(words)
        assert region.area == max(region.area for region in regions)
        go.set()
        assert len(list(words)) == 5
        describer.close()


def test_closing_the_iterator_cancels_the_requests():
    stop, seen = threading.Event(), []

    def answer(request):
        seen.append(1)
        if len(seen) > 2:
            stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer) as server:
        describer = chat(server, max_concurrency=2)
        words = describer.describe(IMAGE, regions_of(24))
        while next(words) is None:
            pass
        started = time.monotonic()
        words.close()
        assert time.monotonic() - started < 5
        asked = len(seen)
        stop.set()
        # The same describer can be used again.
        assert len(ask(describer, regions_of(3))) == 3
        assert len(seen) <= asked + 4
        describer.close()
        describer.close()
        with pytest.raises(RuntimeError, match="closed"):
            next(describer.describe(IMAGE, regions_of(1)))


def test_close_ends_a_waiting_iterator():
    stop = threading.Event()
    with Server(lambda request: (stop.wait(PATIENCE_S), GOOD)[1]) as server:
        describer = chat(server)
        done = []
        reader = threading.Thread(target=lambda: done.append(ask(describer, regions_of(8))))
        reader.start()
        while not server.requests:
            time.sleep(0.01)
        describer.close()
        reader.join(PATIENCE_S)
        stop.set()
    assert done == [[]]


@pytest.mark.parametrize("silent", ["chat", "listing"])
def test_an_analysis_is_cancelled_while_a_silent_server_is_asked(silent):
    stop, here, cancelled = threading.Event(), threading.Event(), threading.Event()

    def wait(*_):
        here.set()
        stop.wait(30)
        return GOOD

    listings = {V1: wait} if silent == "listing" else None
    with Server(wait, listings) as server:
        settings = settings_from({"describer.backend": "chat", "describer.url": server.url})
        outcome = []

        def analyze():
            with Analyzer(settings) as analyzer:
                try:
                    analyzer.analyze(PHOTO, callbacks=Callbacks(is_cancelled=cancelled.is_set))
                except Cancelled:
                    outcome.append("cancelled")

        worker = threading.Thread(target=analyze)
        worker.start()
        try:
            assert here.wait(30)
            cancelled.set()
            worker.join(20)  # The server is silent for 30 s, and the timeout of a region is 60 s.
            assert not worker.is_alive()
        finally:
            stop.set()
            worker.join()
    assert outcome == ["cancelled"]


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


# -- starting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("url", "localhost:1234", "is no http address"),
        ("prompt", "nosuch", "set one of .*region"),
        ("prompt", "/no/such.txt", "cannot be read"),
    ],
)
def test_wrong_settings_are_reported_at_the_start(name, value, message):
    with pytest.raises(BackendUnavailable, match=message):
        Chat(settings_from({f"describer.{name}": value}))


def test_a_prompt_from_a_file_has_its_own_id(tmp_path):
    (tmp_path / "mine.txt").write_text("Name the thing.\n")
    with Server() as server:
        (usual,), _ = describe(server)
        (own,), _ = describe(server, prompt=str(tmp_path / "mine.txt"))
    assert usual.prompt_id != own.prompt_id
    text = server.requests[-1]["messages"][0]["content"][0]["text"]
    assert text.startswith("Name the thing.\n\nAnswer with one JSON object")


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


def test_the_warning_about_an_address_without_v1_names_the_right_one():
    reply = Reply({"error": "Unexpected endpoint or method. (POST /chat/completions)"})
    with Server(lambda request: reply) as server:
        url = server.url.removesuffix("/v1")
        words, (warning,) = describe(server, 3, url=url, fallback="attributes")
    assert {one.describer for one in words} == {"attributes"}
    assert f"Set describer.url to {url}/v1" in warning


def test_a_hanging_server_is_noticed_if_all_scenes_end_at_their_deadline(monkeypatch):
    """Each scene ends at its deadline, and cancels its requests before they time out."""
    stop, clock = threading.Event(), MovedClock(monkeypatch, analyzer_module, describer_module)

    def answer(request):
        clock.forward(0.6)
        stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer) as server:
        settings = settings_from(
            {
                "describer.backend": "chat",
                "describer.url": server.url,
                "describer.scene_deadline_s": 0.6,
                "describer.region_timeout_s": 1.0,
                "describer.max_concurrency": 1,
            }
        )
        with Analyzer(settings) as analyzer:
            for _ in range(4):
                scene = analyzer.analyze(shapes())
            stop.set()
    assert {each.description.describer for each in scene.regions} == {"attributes"}
    assert "no description within" in scene.warnings[0]


def test_a_label_may_begin_with_a_bracket():
    reply = Reply(completion({**WORDS, "label": "(red) mug on the table top"}))
    words, _, _ = one(reply)
    assert (words.status, words.label) == ("described", "red mug")
