"""A server that wants to harm: what it sends is bounded in size and in time, and nothing is kept.

Each region ends with a failure of one line, no picture goes elsewhere, and no memory is taken.

This file is longer than 300 lines because its tests share a server and what is said about it.
"""

import gzip
import itertools
import json
import resource
import threading
import time
import zlib

import pytest

from deep_perception.describers.server import client as chat_client
from deep_perception.describers.server import readiness
from support.chat_scene import PATIENCE_S, ask, chat, describe, regions_of
from support.chat_server import GOOD, WORDS, Reply, Server, completion
from support.hostile_server import GOOD_BODY, LISTING, HostileServer, endless, http

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]

ZEROS = bytes(60_000_000)
BOMB = gzip.compress(ZEROS, 5, mtime=0)
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def short(value):
    """The identifier of a parameter: bytes of megabytes are none."""
    return value[:40] if isinstance(value, str) else ""


def raw_deflate(data):
    stream = zlib.compressobj(wbits=-zlib.MAX_WBITS)
    return stream.compress(data) + stream.flush()


def drip(start, data):
    """The start of an answer, and then a byte now and then."""
    yield start
    for number in itertools.count():
        yield data[number % len(data) :][:1]
        yield None


TOO_LARGE = "the answer has more than 1 MB"
TOO_LARGE_INSIDE = "the answer is larger than 1 MB when it is decompressed"
NOT_ASKED_FOR = "which was not asked for"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (http(BOMB, "200 OK", "Content-Encoding: gzip"), TOO_LARGE_INSIDE),
        (http(BOMB, "500 No", "Content-Encoding: x-gzip"), TOO_LARGE_INSIDE),
        (http(zlib.compress(ZEROS), "200 OK", "Content-Encoding: deflate"), TOO_LARGE_INSIDE),
        (http(raw_deflate(ZEROS), "200 OK", "Content-Encoding: deflate"), TOO_LARGE_INSIDE),
        (http(gzip.compress(BOMB), "200 OK", "Content-Encoding: gzip, gzip"), NOT_ASKED_FOR),
        (http(b"a", "200 OK", "Content-Encoding: gzip", "Content-Encoding: br"), NOT_ASKED_FOR),
        (http(b"\x28\xb5\x2f\xfd", "200 OK", "Content-Encoding: zstd"), "as zstd, which was not"),
        (http(b"a", "200 OK", "Content-Encoding: br, \x1b[2J"), r"as br, \x1b[2J, which was not"),
        (http(gzip.compress(GOOD_BODY)[:-9], "200 OK", "Content-Encoding: gzip"), "breaks off"),
        (lambda _: endless(b" "), TOO_LARGE),
        (lambda _: endless(b"10000\r\n" + b"a" * 65536 + b"\r\n", CHUNKED), TOO_LARGE),
        (lambda _: endless(b"{", http(length=10**12)), TOO_LARGE),
        (lambda _: endless(b'data: {"choices":[{"delta":{"content":"a "}}]}\n\n'), TOO_LARGE),
        (lambda _: endless(b"<title>", b"HTTP/1.1 404 No\r\n\r\n<html>"), TOO_LARGE),
        (lambda _: endless(b" ", b"HTTP/1.1 307 Go\r\nLocation: /v1/there\r\n\r\n"), TOO_LARGE),
        (lambda _: endless(b"a: b\r\n", b"HTTP/1.1 200 OK\r\n"), "no connection ("),
        (lambda _: endless(b"a", b"HTTP/1.1 200 OK\r\n"), "no connection ("),
        (lambda _: endless(b"1", CHUNKED), "no connection ("),
        (CHUNKED + b"zz\r\nabc", "no connection ("),
        (http(length=-5), "no connection ("),
        (b"HTTP/1.1 101 No\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", "no connection ("),
        (http(b"", "204 No Content"), "the answer is empty"),
        (http(b"<html>" + b"<title>" * 100_000, "500 No"), "status 500: a web page"),
        (http(b"a-" + b"b" * 200_000, "500 No", "Content-Type: a/b; charset=punycode"), "500: a-"),
        (http(b"a.b" * 9000, "500 No", "Content-Type: a/b; charset=undefined"), "status 500: a.b"),
        (http(b'{"choices":' * 60_000), "more than 64 lists and objects within each other"),
        (http(json.dumps(completion("red cup " * 60_000)).encode()), "has 480000 characters"),
        (http(json.dumps(completion("{'label':" + "-" * 9000 + "1}")).encode()), "broken JSON"),
        (http(json.dumps(completion('{"label":' + "[" * 5000)).encode()), "broken JSON"),
        (http(b"", "307 Go", "Location: /v1/chat/completions"), "maximum allowed redirects"),
    ],
    ids=short,
)  # fmt: skip
def test_no_answer_takes_much_memory_or_time(answer, reason):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started_s = time.process_time()
    with HostileServer(answer) as server:
        (words,), _ = describe(server)
    assert words.status == "failed"
    assert reason in words.error
    assert len(words.error) < 700 and words.error.isprintable()
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 40_000  # kB
    assert time.process_time() - started_s < 3


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: drip(http(length=10**6), b" "),
        lambda _: drip(b"HTTP/1.1 200 OK\r\n", b"a: b\r\n"),
        lambda _: drip(http(length=10**6), b": ping\n\n"),
        lambda _: endless(b"HTTP/1.1 103 Early Hints\r\n\r\n", b""),
        lambda _: endless(b"1;" + b"x" * 60_000 + b"\r\na\r\n", CHUNKED),
        lambda _: itertools.repeat(None),
    ],
)
@pytest.mark.parametrize("lists", [False, True])
def test_an_answer_without_an_end_ends_at_the_timeout(answer, lists, monkeypatch):
    monkeypatch.setattr(chat_client, "READINESS_TIMEOUT_S", 0.3)
    with HostileServer(answer, lists=lists) as server:
        # Long timeouts of the library would hide that the whole is bounded.
        monkeypatch.setattr(chat_client.Client, "_timeout", lambda *_: 1000.0)
        (words,), _ = describe(server, region_timeout_s=0.3)
    assert words.status == "failed"
    assert "in time" in words.error or "within 0.3 s" in words.error


def test_a_server_that_takes_long_for_each_list_is_not_asked_for_all(monkeypatch):
    monkeypatch.setattr(readiness, "CHOICE_TIMEOUT_S", 0.3)
    with HostileServer(lambda _: itertools.repeat(None), lists=True) as server:
        (words,), _ = describe(server)
    assert "did not list its models within 0.3 s" in words.error


@pytest.mark.parametrize(
    "value",
    ["1e308", "inf", "NaN", "-5", "1e9", "9" * 1500, "Fri, 31 Dec 9999 23:59:59 GMT",
     f"Mon, 01 Jan {'9' * 30} 00:00:00 GMT", "\x1b"],
)  # fmt: skip
def test_no_pause_that_a_server_asks_for_silences_a_camera(value):
    pause_s = chat_client.pause_asked_for(value)
    assert pause_s is None or 0 <= pause_s <= 300
    with HostileServer(http(b"{}", "503 No", f"Retry-After: {value}")) as server:
        (words,), _ = describe(server, region_timeout_s=0.3)
    assert words.status == "failed"


@pytest.mark.parametrize(
    "location",
    ["//evil.example/x", "http://[::1]:80/x", "file:///etc/passwd", "https://127.0.0.1/x",
     "http://127.0.0.1:1/x", "http://127.0.0.1:80@evil.example/", "http://a:b@evil.example/",
     "http://evil.example/" + "a" * 90_000, "http://[::1/x", "http://evil.example/\x1b[2J"],
    ids=short,
)  # fmt: skip
def test_no_picture_follows_a_redirect(location):
    with HostileServer(http(b"", "307 Go", f"Location: {location}")) as server:
        (words,), _ = describe(server, region_timeout_s=0.5)
    assert words.status == "failed"
    assert "redirects to" in words.error or location[-3:] in ("1/x", "[2J")
    assert len(words.error) < 700 and words.error.isprintable()
    assert "a:b" not in words.error


@pytest.mark.parametrize(
    ("body", "headers"),
    [
        (gzip.compress(GOOD_BODY), ("Content-Encoding: gzip",)),
        (zlib.compress(GOOD_BODY), ("Content-Encoding: deflate",)),
        (raw_deflate(GOOD_BODY), ("Content-Encoding: deflate",)),
        (GOOD_BODY, ("Content-Encoding: identity",)),
        (GOOD_BODY, ("Content-Encoding: UTF-8",)),
        (gzip.compress(GOOD_BODY), ("Content-Encoding: none, gzip",)),
        (GOOD_BODY, ("Refresh: 0; url=http://evil.example",)),
        (GOOD_BODY + b" " * 900_000, ()),
        (json.dumps(completion("<think>" + "Hm. " * 25_000 + "</think>Red cup\nA red cup."),
                    ).encode(), ()),
    ],
    ids=short,
)  # fmt: skip
def test_what_honest_servers_send_is_read(body, headers):
    with HostileServer(http(body, "200 OK", *headers)) as server:
        (words,), warnings = describe(server)
    assert (words.status, words.label.lower(), warnings) == ("described", "red cup", ())


def test_cookies_are_not_kept_and_nothing_but_two_compressions_is_asked_for():
    with HostileServer(http(GOOD_BODY, "200 OK", "Set-Cookie: id=1; Path=/")) as server:
        words, _ = describe(server, 3, max_concurrency=1)
    assert [one.status for one in words] == ["described"] * 3
    assert not any("cookie" in head.lower() for head in server.heads)
    assert all("accept-encoding: gzip, deflate\n" in head.lower() + "\n" for head in server.heads)


# -- what is published ---------------------------------------------------------------------------


@pytest.mark.parametrize("model", ["a\x1b[31m\u202eb\n" + "x" * 5000, {"a": 1}, "\ud800", None])
def test_the_name_of_the_model_that_answers_is_one_short_line(model):
    with Server(lambda _: Reply(completion(WORDS, model=model))) as server:
        (words,), _ = describe(server)
    assert words.status == "described"
    assert words.model.isprintable() and 0 < len(words.model) <= 200


def test_a_token_that_the_server_repeats_in_parts_does_not_stop_the_loop(monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "sk-0123456789abcdefghijklmnop")
    text = "0123456789ab " * 50_000
    with Server(lambda _: Reply({"error": {"message": "no", "detail": text, "x": text}}, 400)) as s:
        started_s = time.process_time()
        (words,), _ = describe(s)
    assert time.process_time() - started_s < 3
    assert words.status == "failed" and "0123456789ab" not in words.error


def test_a_server_that_refuses_a_setting_again_and_again_is_one_warning(caplog):
    limits = itertools.count(399, -1)

    def answer(request):
        message = f"max_tokens is too large: at most {next(limits)} completion tokens"
        return Reply({"error": {"message": message}}, 400)

    with Server(answer) as server:
        describer = chat(server, region_timeout_s=1.0)
        try:
            ask(describer, regions_of(1))
            assert sum("max_tokens is" in warning for warning in describer.warnings) == 1
        finally:
            describer.close()
    refused = [record for record in caplog.records if "describer.max_tokens is" in record.message]
    assert len(server.requests) > 3 and len(refused) == 1


# -- lists of models -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        {"models": [{"loaded_instances": 5}]},
        {"models": [{"key": "\ud800", "loaded_instances": [{"id": "\udfff"}], "capabilities": {}}]},
        {"models": [{"key": 5, "loaded_instances": [[[]]], "capabilities": 7, "type": {"a": []}}]},
        {"models": [{"key": "a\x1b[2J\n", "type": "llm", "capabilities": {"vision": True}}]},
        {"models": {"a": 1}},
        [[[[]]]] * 1000,
        "text",
        b"[" * 300_000,
        b'{"models":' * 100_000,
        b'{"models": [' + b"{}," * 300_000 + b"{}]}",
        b"[" + b" " * 3_000_000 + b"]",
        BOMB[:50],
    ],
    ids=short,
)
def test_a_list_of_any_form_makes_the_fallback_describe(body, caplog):
    listed = Reply(body)
    lists = dict.fromkeys(("/api/v1/models", "/api/v0/models", "/v1/models"), listed)
    with Server(listings=lists) as server:
        words, (warning,) = describe(server, 2, fallback="attributes")
    assert {one.describer for one in words} == {"attributes"}
    assert warning.isprintable() and len(warning) < 1000
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert not any(record.exc_info for record in caplog.records)
    assert not server.requests


def test_a_list_of_ten_thousands_of_models_is_no_obstacle():
    models = [{"id": f"org/model-{number}", "created": number, "owned_by": "x" * 60}
              for number in range(5000)]  # fmt: skip
    large = Reply({"data": [*models, {"id": "mine"}]})
    too_large = Reply({"data": [{"id": "x" * 900}] * 4000})
    for listed, wanted in ((large, "mine"), (too_large, "mine")):
        with Server(listings={"/v1/models": listed}) as server:
            (words,), warnings = describe(server, model=wanted)
        assert (words.status, warnings) == ("described", ())
    with Server(listings={"/v1/models": large}) as server:
        (words,), _ = describe(server, model="model-77x")
    assert "there is no model 'model-77x'" in words.error and len(words.error) < 1000


def test_the_name_of_a_model_is_data_and_never_a_path_a_header_or_a_command():
    name = "../../x?y=1#\"'; rm -rf ~ $(id)"
    listed = {"type": "llm", "key": name, "capabilities": {"vision": True}, "loaded_instances": []}
    with Server(listings={"/api/v1/models": Reply({"models": [listed]})}) as server:
        (words,), _ = describe(server)
    assert "run: lms load '../../x?y=1#\"'\"'\"'; rm -rf ~ $(id)'" in words.error
    loaded = {**listed, "loaded_instances": [{"id": name}]}
    with Server(listings={"/api/v1/models": Reply({"models": [loaded]})}) as server:
        (words,), _ = describe(server)
    assert server.requests[0]["model"] == name
    assert set(server.paths) == {"/v1/chat/completions"}


def test_a_hostile_list_is_not_asked_for_all_the_time():
    asked = threading.Event()

    def listing():
        asked.set()
        return Reply(b"{", 503, {"Retry-After": "1e308"})

    with Server(listings={"/v1/models": listing, "/api/v1/models": listing}) as server:
        describer = chat(server, fallback="attributes")
        try:
            ask(describer, regions_of(1))
            assert asked.wait(PATIENCE_S)
            server.listings = {"/api/v1/models": Reply(LISTING)}
            assert not describer.loading
        finally:
            describer.close()
    assert GOOD.status == 200
