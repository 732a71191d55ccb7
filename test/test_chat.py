"""Words from a chat server over real HTTP: every answer that servers were seen to give."""

import contextlib
import json
import logging
import random
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from chat_server import (
    DROP,
    GOOD,
    WORDS,
    Reply,
    Server,
    completion,
    form,
    lm_studio,
    picture,
)

from deep_perception import masks
from deep_perception.analyzer import Analyzer
from deep_perception.backends import BackendUnavailable
from deep_perception.describers import chat_client, chat_question
from deep_perception.describers.chat import Chat
from deep_perception.options import settings_from
from deep_perception.points import Point
from deep_perception.regions import Region

pytestmark = pytest.mark.chat

IMAGE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(chat_question, "BACK_OFF_S", 0.005)
    before = set(threading.enumerate())
    sockets = open_sockets()
    yield
    names = ("describer", "asyncio")
    left = {thread for thread in threading.enumerate() if thread.name.startswith(names)}
    assert left <= before
    deadline = time.monotonic() + 5
    while open_sockets() > sockets and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_sockets() <= sockets


def open_sockets():
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the folder's own descriptor
            count += str(entry.readlink()).startswith("socket:")
    return count


def regions_of(count, image=IMAGE):
    """Squares on a grid, each a little larger than the one before."""
    height, width = image.shape[:2]
    made = []
    for index in range(1, count + 1):
        mask = np.zeros((height, width), np.bool_)
        x, y = (index * 37) % (width - 24), (index * 53) % (height - 24)
        mask[y : y + 20, x : x + 4] = True
        mask.flat[np.flatnonzero(mask)[0] : np.flatnonzero(mask)[0] + 4 + index % 20] = True
        made.append(
            Region.from_mask(
                index=index, point=Point(x + 1, y + 1, "grid"), mask=mask, score=1.0,
                source=masks.size_of(image),
            )
        )  # fmt: skip
    return made


def chat(server, **changes):
    changes = {"fallback": "", "url": server.url, **changes}
    return Chat(settings_from({f"describer.{name}": value for name, value in changes.items()}))


def describe(server, count=1, **changes):
    describer = chat(server, **changes)
    try:
        found = list(describer.describe(IMAGE, regions_of(count)))
        return [words for _, words in found], describer.warnings
    finally:
        describer.close()


def one(reply, **changes):
    with Server(lambda request: reply) as server:
        (words,), warnings = describe(server, **changes)
    return words, warnings, server


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
    ("reply", "label", "truncated"),
    [
        (completion(f"```json\n{JSON}\n```"), "red cup", False),
        (completion(f"Here you are:\n{JSON}\nAnything else?"), "red cup", False),
        (completion(f"<think>hm {{}} a cup?</think>{JSON}"), "red cup", False),
        (completion("", reasoning_content=JSON), "red cup", False),
        (completion(None, reasoning=f"I think {JSON}"), "red cup", False),
        (completion([{"type": "text", "text": JSON}]), "red cup", False),
        (completion('{"label": "cup", "caption": "A wh', reason="length"), "cup", True),
        (completion({"name": "cup", "description": "It is white."}), "cup", False),
        (completion({"label": "", "caption": "A white cup."}), "white cup", False),
        # plain text
        (completion("A white cup with a blue handle on a table."), "white cup", False),
        (completion("White cup\nIt is made of china."), "White cup", False),
        (completion("**Label:** cup\n**Caption:** It is white."), "cup", False),
        (completion("This is a cat.", reason="length"), "cat", True),
    ],
)
def test_forms_of_good_answers(reply, label, truncated):
    words, _, server = one(Reply(reply))
    assert (words.status, words.label, words.truncated) == ("described", label, truncated)
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
        (Reply(completion('{"lab')), "broken JSON"),
        (Reply(completion('{"x": 1}')), "JSON without a label"),
        (Reply({"choices": []}), "no choices"),
        (Reply({"choices": [{"finish_reason": "stop"}]}), "no choices"),
        (Reply("[1, 2]"), "answered with list"),
        (Reply("<!doctype html><html>", kind="text/html"), "a web page; is describer.url right?"),
    ],
)
def test_what_is_no_description_is_asked_for_once_more_with_another_picture(reply, reason):
    words, warnings, server = one(reply)
    assert words.status == "failed"
    assert reason in words.error
    assert words.text == words.label == ""
    assert warnings == ()  # the server works
    first, second = server.requests
    assert picture(first) != picture(second)


def test_a_second_answer_may_be_good():
    replies = iter([Reply(completion("")), GOOD])
    with Server(lambda request: next(replies)) as server:
        (words,), _ = describe(server)
    assert words.status == "described"


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
def test_a_form_that_the_server_does_not_take_is_given_up_for_good(accepted, refusal):
    content = WORDS if accepted == "json" else "Red cup\nIt is red."
    taken = Reply(completion(content))
    with Server(lambda request: taken if form(request) == accepted else refusal) as server:
        words, _ = describe(server, 3, max_concurrency=1)
    assert [one.status for one in words] == ["described"] * 3
    forms = [form(request) for request in server.requests]
    assert forms == ["json_schema", "json", "text"][: forms.index(accepted) + 1] + [accepted] * 2


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
def test_a_server_that_cannot_be_used_is_a_warning_and_asked_no_more(reply, reason, monkeypatch):
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
def test_a_request_without_an_answer_is_tried_again(trouble):
    replies = iter([trouble, trouble, GOOD])
    with Server(lambda request: next(replies)) as server:
        (words,), warnings = describe(server)
    assert words.status == "described"
    assert warnings == ()
    assert len(server.requests) == 3


def test_retry_after_is_waited_for_and_not_for_too_long():
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


def test_a_region_has_its_deadline():
    stop = threading.Event()
    with Server(lambda request: (stop.wait(20), GOOD)[1]) as server:
        try:
            (words,), (warning,) = describe(server, region_timeout_s=0.2)
        finally:
            stop.set()
    assert words.status == "failed"
    assert "0.2 s" in words.error or "in time" in words.error
    assert server.url in warning


def test_at_the_scene_deadline_the_rest_stays_pending():
    stop, answered = threading.Event(), Counter()

    def answer(request):
        answered["all"] += 1
        if answered["all"] > 3:
            stop.wait(20)
        return GOOD

    with Server(answer) as server:
        try:
            words, _ = describe(server, 8, scene_deadline_s=1.0, max_concurrency=1)
        finally:
            stop.set()
    assert Counter(one.status for one in words) == {"described": 3, "pending": 5}


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
def test_the_model_that_is_asked(path, body, wanted, asked):
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
def test_a_model_that_cannot_work_says_what_to_do(path, body, wanted, advice):
    with Server(listings={path: Reply(body)}) as server:
        words, (warning,) = describe(server, 3, model=wanted)
    assert advice in warning
    assert all(one.status == "failed" and advice in one.error for one in words)
    assert server.requests == []


def test_the_token_is_sent_and_never_shown(monkeypatch, caplog):
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
def test_as_many_at_once_as_the_server_says_or_as_set(said, setting, most):
    listings = {V1: Reply({"models": [lm_studio(parallel=said)]})}
    all_here = threading.Barrier(most)

    def answer(request):
        # Each group is answered when all of it is there: counted, not timed.
        all_here.wait(10)
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
            go.wait(10)
        first.append(1)
        return GOOD

    regions = regions_of(6)
    with Server(answer) as server:
        describer = chat(server, max_concurrency=1)
        words = describer.describe(IMAGE, regions)
        region, _ = next(words)
        assert region.area == max(region.area for region in regions)
        go.set()
        assert len(list(words)) == 5
        describer.close()


def test_closing_the_iterator_cancels_what_is_under_way():
    stop, seen = threading.Event(), []

    def answer(request):
        seen.append(1)
        if len(seen) > 2:
            stop.wait(20)
        return GOOD

    with Server(answer) as server:
        describer = chat(server, max_concurrency=2)
        words = describer.describe(IMAGE, regions_of(24))
        next(words)
        started = time.monotonic()
        words.close()
        assert time.monotonic() - started < 5
        asked = len(seen)
        stop.set()
        # The same describer goes on.
        assert len(list(describer.describe(IMAGE, regions_of(3)))) == 3
        assert len(seen) <= asked + 4
        describer.close()
        describer.close()
        with pytest.raises(RuntimeError, match="closed"):
            next(describer.describe(IMAGE, regions_of(1)))


def test_close_ends_an_iterator_that_waits():
    stop = threading.Event()
    with Server(lambda request: (stop.wait(20), GOOD)[1]) as server:
        describer = chat(server)
        done = []
        reader = threading.Thread(
            target=lambda: done.append(list(describer.describe(IMAGE, regions_of(8))))
        )
        reader.start()
        while not server.requests:
            time.sleep(0.01)
        describer.close()
        reader.join(10)
        stop.set()
    assert done == [[]]


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
        found = list(describer.describe(IMAGE, regions))
        describer.close()
    assert sorted(region.index for region, _ in found) == list(range(1, 301))
    statuses = Counter(words.status for _, words in found)
    assert set(statuses) <= {"described", "failed"}
    assert statuses["described"] >= 270
    assert 1 < server.most <= 8


# -- gone and back ------------------------------------------------------------------------------


def shapes():
    image = np.full((240, 320, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    return image


def free_port():
    with Server() as server:
        return server.port


def test_the_fallback_describes_while_the_server_is_away(monkeypatch):
    monkeypatch.setattr(chat_client, "COOL_DOWN_S", 0.0)
    port = free_port()
    settings = settings_from(
        {"describer.backend": "chat", "describer.url": f"http://127.0.0.1:{port}/v1"}
    )
    with Analyzer(settings) as analyzer:
        assert analyzer.warnings == ()
        for _ in range(2):  # away, there and away again
            away = analyzer.analyze(shapes())
            assert {one.description.describer for one in away.regions} == {"attributes"}
            assert {one.description.status for one in away.regions} == {"described"}
            (warning,) = away.warnings
            assert f"chat server http://127.0.0.1:{port}/v1: no connection" in warning
            assert warning.endswith("; 'attributes' is used instead")
            with Server(port=port):
                back = analyzer.analyze(shapes())
            assert {one.description.describer for one in back.regions} == {"chat"}
            assert back.warnings == analyzer.warnings == ()


def test_a_server_that_goes_away_in_the_middle_of_a_scene():
    seen = []

    def answer(request):
        seen.append(1)
        return GOOD if len(seen) <= 5 else DROP

    with Server(answer) as server:
        words, (warning,) = describe(server, 24, fallback="attributes", max_concurrency=2)
    assert Counter(one.describer for one in words) == {"chat": 5, "attributes": 19}
    assert {one.status for one in words} == {"described"}
    assert "for 19 of 24 regions" in warning
    # The breaker: not each of the 19 was tried four times.
    assert len(seen) <= 5 + 4 * (chat_client.FAILURES + 1)


def test_an_open_breaker_asks_nothing_and_half_open_asks_for_one_region(monkeypatch):
    clock = [0.0]
    monkeypatch.setattr(chat_client, "clock", lambda: clock[0])
    healthy = []
    with Server(lambda request: GOOD if healthy else DROP) as server:
        describer = chat(server, fallback="attributes", max_concurrency=4)

        def ask():
            server.requests.clear()
            found = list(describer.describe(IMAGE, regions_of(12)))
            assert len({region.index for region, _ in found}) == 12
            return Counter(words.describer for _, words in found), len(server.requests)

        assert ask()[0] == {"attributes": 12}
        clock[0] += chat_client.COOL_DOWN_S - 1
        assert ask() == ({"attributes": 12}, 0)
        clock[0] += 1
        assert ask() == ({"attributes": 12}, 1)  # the probe
        clock[0] += chat_client.COOL_DOWN_S
        assert ask() == ({"attributes": 12}, 0)  # the second wait is longer
        clock[0] += chat_client.COOL_DOWN_S
        healthy.append(True)
        assert ask() == ({"chat": 12}, 12)
        assert describer.warnings == ()
        describer.close()


# -- starting -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("url", "localhost:1234", "is no http address"),
        ("prompt", "nosuch", "there is region"),
        ("prompt", "/no/such.txt", "cannot be read"),
    ],
)
def test_settings_that_cannot_work_say_so_at_the_start(name, value, message):
    with pytest.raises(BackendUnavailable, match=message):
        Chat(settings_from({f"describer.{name}": value}))


def test_a_prompt_of_the_users_own_has_its_own_id(tmp_path):
    (tmp_path / "mine.txt").write_text("Name the thing.\n")
    with Server() as server:
        (usual,), _ = describe(server)
        (own,), _ = describe(server, prompt=str(tmp_path / "mine.txt"))
    assert usual.prompt_id != own.prompt_id
    text = server.requests[-1]["messages"][0]["content"][0]["text"]
    assert text.startswith("Name the thing.\n\nAnswer with one JSON object")
