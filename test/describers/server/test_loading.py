"""A chat server that has to load its model first: LM Studio's native API over real HTTP."""

import re
import threading
import time
from collections import Counter

import pytest

from deep_perception.describers.server import breaker, readiness
from deep_perception.describers.server import client as chat_client
from support.chat_scene import (
    IMAGE,
    PATIENCE_S,
    ask,
    chat,
    regions_of,
)
from support.chat_server import GOOD, NO_ENDPOINT, LmStudio, Reply, Server

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]

V0, ANY = "/api/v0/models", "/v1/models"


@pytest.fixture(autouse=True)
def impatient(monkeypatch):
    monkeypatch.setattr(breaker, "COOL_DOWN_S", 0.05)
    monkeypatch.setattr(readiness, "RECHECK_S", 0.05)
    monkeypatch.setattr(chat_client, "LOADING_CHECK_S", 0.05)


def until(condition):
    deadline = time.monotonic() + PATIENCE_S
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.01)
    assert condition()


def seconds_in(warning):
    (seconds,) = re.findall(r"\((\d+) s so far\)", warning)
    return int(seconds)


def by(found):
    return Counter(words.describer for _, words in found)


@pytest.mark.parametrize("load_model", ["load", "load+unload"])
def test_the_wanted_model_is_loaded_once_while_the_fallback_describes(load_model):
    go = threading.Event()
    lm = LmStudio("other", "qwen/vl", engine=lambda key: (go.wait(PATIENCE_S), None)[1])
    lm.instances["other"].append("other")
    with Server(lm=lm) as server:
        describer = chat(server, model="qwen/vl", load_model=load_model, fallback="attributes")
        try:
            for _ in range(3):  # The end of a scene does not cancel the loading.
                assert by(ask(describer, regions_of(4))) == {"attributes": 4}
                (warning,) = describer.warnings
                assert "LM Studio is loading 'qwen/vl' (" in warning
                assert seconds_in(warning) >= 0
                assert warning.endswith("'attributes' is used instead")
            assert not describer.available
            before = seconds_in(warning)
            until(lambda: seconds_in(describer.warnings[0]) > before)
            go.set()
            until(lambda: describer.available)
            assert by(ask(describer, regions_of(4))) == {"chat": 4}
            assert describer.warnings == ()
            assert {request["model"] for request in server.requests} == {"qwen/vl"}
            # A model that another program unloads is loaded again.
            lm.instances["qwen/vl"].clear()
            server.answer = lambda request: Reply({"error": "Model is unloaded."}, 400)
            ask(describer, regions_of(5, IMAGE[::-1].copy()))
            server.answer = lambda request: GOOD
            until(lambda: describer.available)
            assert by(ask(describer, regions_of(6)))["chat"] == 6
        finally:
            go.set()
            describer.close()
    assert lm.loads == [{"model": "qwen/vl"}] * 2
    # Only models that were loaded here are unloaded, and only with load+unload.
    ours = [{"instance_id": "qwen/vl"}] * 2 if load_model == "load+unload" else []
    assert lm.unloads == ours
    assert lm.instances["other"] == ["other"]
    assert lm.instances["qwen/vl"] == ([] if ours else ["qwen/vl"])


FULL = "Model loading was stopped due to insufficient system resources."


@pytest.mark.parametrize(
    ("reply", "reason"),
    [
        (Reply({"error": {"type": "model_load_failed", "message": FULL}}, 500), FULL),
        (Reply("<html>Internal Server Error", 500, kind="text/html"), "status 500"),
        (Reply({"type": "llm", "status": "failed"}), "failed"),
        (NO_ENDPOINT, "LM Studio can load a model on request only from version 0.4.0"),
        (Reply("Not Found", 404, kind="text/plain"), "status 404: Not Found"),
    ],
)
def test_the_warning_about_a_model_that_cannot_be_loaded_says_what_to_do(reply, reason):
    lm = LmStudio("v", engine=lambda key: reply)
    with Server(lm=lm) as server:
        describer = chat(server, model="v", load_model="load+unload", fallback="attributes")
        assert by(ask(describer, regions_of(3))) == {"attributes": 3}
        until(lambda: "did not load model 'v'" in describer.warnings[0])
        assert reason in describer.warnings[0]
        assert "Developer > Select a model to load) or run: lms load v" in describer.warnings[0]
        # The loading is not repeated, but a model that the user loads is used.
        assert by(ask(describer, regions_of(3))) == {"attributes": 3}
        lm.instances["v"].append("v")
        until(lambda: describer.available)
        assert by(ask(describer, regions_of(3))) == {"chat": 3}
        describer.close()
    assert len(lm.loads) == 1
    assert lm.unloads == []


def test_loading_has_its_time_limit():
    stop = threading.Event()
    lm = LmStudio("v", engine=lambda key: (stop.wait(PATIENCE_S), None)[1])
    with Server(lm=lm) as server:
        describer = chat(server, model="v", load_model="load", load_timeout_s=1.0)
        ask(describer, regions_of(1))
        until(lambda: "is not loaded after describer.load_timeout_s (1 s)" in describer.warnings[0])
        stop.set()
        # The model was loaded after the time limit.
        until(lambda: describer.available)
        assert by(ask(describer, regions_of(2))) == {"chat": 2}
        describer.close()
    assert len(lm.loads) == 1


def test_closing_while_a_model_loads_does_not_wait_for_it():
    stop, loading = threading.Event(), threading.Event()
    lm = LmStudio("v", engine=lambda key: (loading.set(), stop.wait(PATIENCE_S), None)[2])
    with Server(lm=lm) as server:
        describer = chat(server, model="v", load_model="load+unload")
        ask(describer, regions_of(1))
        assert loading.wait(PATIENCE_S)
        started = time.monotonic()
        describer.close()
        assert time.monotonic() - started < 30
        stop.set()
    # The request has the future name of the instance; LM Studio decides whether it can unload it.
    assert lm.unloads == [{"instance_id": "v"}]


def test_a_server_that_does_not_unload_causes_no_exception(caplog):
    lm = LmStudio("v")
    with Server(lm=lm) as server:
        describer = chat(server, model="v", load_model="load+unload", fallback="attributes")
        ask(describer, regions_of(1))
        until(lambda: describer.available)
        lm.instances["v"].clear()
        describer.close()
    assert lm.unloads == [{"instance_id": "v"}]
    assert "LM Studio did not unload 'v': status 404: No such instance" in caplog.text


def test_only_a_named_model_is_loaded():
    lm = LmStudio("v")
    with Server(lm=lm) as server:
        describer = chat(server, load_model="load", fallback="attributes")
        ask(describer, regions_of(1))
        (warning,) = describer.warnings
        describer.close()
    assert "or set describer.model: then it is loaded" in warning
    assert lm.loads == []


def test_the_fallback_describes_while_lm_studio_loads_a_model_by_itself():
    """LM Studio loads a model at the first request, which is answered minutes later."""
    stop = threading.Event()
    model = {"id": "v", "type": "vlm", "state": "loaded"}
    listings = {V0: lambda: Reply({"data": [model]})}

    def answer(request):
        if model["state"] != "loaded":
            model["state"] = "loading"
            stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer, listings) as server:
        describer = chat(
            server, model="v", fallback="attributes", region_timeout_s=1.0, cache_size=0
        )
        assert by(ask(describer, regions_of(2))) == {"chat": 2}
        model["state"] = "not-loaded"  # LM Studio unloaded it after its ttl.
        assert by(ask(describer, regions_of(2))) == {"attributes": 2}
        (warning,) = describer.warnings
        assert "LM Studio is loading 'v'; 'attributes' is used instead" in warning
        asked = len(server.requests)
        assert by(ask(describer, regions_of(8))) == {"attributes": 8}
        assert not describer.available
        assert len(server.requests) == asked  # No request is sent meanwhile.
        model["state"] = "loaded"
        stop.set()
        until(lambda: describer.available)
        assert by(ask(describer, regions_of(8))) == {"chat": 8}
        assert describer.warnings == ()
        describer.close()


def test_a_slow_first_answer_is_no_permanent_failure():
    stop, slow = threading.Event(), [True]
    listings = {ANY: Reply({"data": [{"id": "v"}]})}

    def answer(request):
        if slow:
            stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer, listings) as server:
        describer = chat(server, fallback="attributes", region_timeout_s=1.0)
        assert by(ask(describer, regions_of(6))) == {"attributes": 6}
        slow.clear()
        stop.set()
        until(lambda: describer.available)
        assert by(ask(describer, regions_of(6))) == {"chat": 6}
        describer.close()
