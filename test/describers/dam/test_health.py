"""What may listen at the address of a DAM server, and what it may answer to /health."""

import itertools
import time

import pytest

from deep_perception.describers.dam import health
from deep_perception.describers.dam.health import Health, get_health
from deep_perception.describers.dam.launch import Address
from support.hostile_server import HostileServer, endless, http


def ask(answer):
    with HostileServer(answer, lists=True) as server:
        started_s = time.monotonic()
        found = get_health(Address(host="127.0.0.1", port=server.port), "NO_TOKEN")
        return found, time.monotonic() - started_s


@pytest.mark.parametrize(
    ("body", "found"),
    [
        (b'{"status": "ready"}', Health(kind="ready")),
        (b'{"status": "failed", "error": "no memory"}', Health(kind="failed", error="no memory")),
        (b'{"status": "failed", "error": "a\\u001b[2J\\nb\\u202e"}',
         Health(kind="failed", error=r"a\x1b[2J\nb\u202e")),
        (b'{"status": ["ready"]}', Health(kind="other")),
        (b'{"status": {"ready": 1}}', Health(kind="other")),
        (b"[" * 60_000, Health(kind="other")),
        (b'{"status":' * 6000, Health(kind="other")),
        (b"\xff\xfe\x00", Health(kind="other")),
        (b"null", Health(kind="other")),
        (b"", Health(kind="other")),
    ],
    ids=lambda value: getattr(value, "kind", ""),
)  # fmt: skip
def test_an_answer_of_any_form(body, found):
    assert ask(http(body))[0] == found


def test_an_error_is_short():
    found, _ = ask(http(b'{"status": "failed", "error": "' + b"x" * 60_000 + b'"}'))
    assert found.kind == "failed" and len(found.error) < 400


@pytest.mark.parametrize(
    "answer",
    [
        lambda _: itertools.repeat(None),
        lambda _: itertools.chain([http(length=9999)], itertools.cycle([b" ", None])),
        lambda _: itertools.chain(
            [http(b"", "200 OK", "Connection: close", length=9999)], itertools.cycle([b" ", None])
        ),
        lambda _: itertools.chain([b"HTTP/1.1 200 OK\r\n"], itertools.cycle([b"a", None])),
        lambda _: endless(b"HTTP/1.1 100 Continue\r\n\r\n", b""),
        lambda _: endless(b"a: b\r\n", b"HTTP/1.1 200 OK\r\n"),
        lambda _: endless(b" "),
    ],
)
def test_an_answer_without_an_end_ends_at_the_timeout(answer, monkeypatch):
    monkeypatch.setattr(health, "TIMEOUT_S", 0.3)
    found, seconds = ask(answer)
    assert found.kind in ("silent", "other")
    assert seconds < 10
