"""Clients of the DAM server that want nothing described: others are served all the same."""

import json
import re
import socket
import time
from pathlib import Path

import pytest
from PIL import Image

from support.dam_server_process import HEADERS, data_url, request, rgba, together, urls, wait_for

pytestmark = pytest.mark.dam
HEAD = "POST /v1/chat/completions HTTP/1.1\r\n" + "".join(
    f"{name}: {value}\r\n" for name, value in HEADERS.items()
)


def connected(server, data):
    connection = socket.create_connection(("127.0.0.1", server.port), timeout=60)
    connection.sendall(data if isinstance(data, bytes) else data.encode())
    return connection


def answer(connection):
    """Return what a server sends up to the end of the connection."""
    received = b""
    while block := connection.recv(1 << 16):
        received += block
    connection.close()
    return received.decode()


def descriptors(server):
    return len(list(Path(f"/proc/{server.process.pid}/fd").iterdir()))


@pytest.mark.parametrize(
    ("headers", "status", "code"),
    [
        ({"Host": "evil.example"}, 403, "wrong_host"),
        ({"Host": "evil.example:8470"}, 403, "wrong_host"),
        ({"Host": "127.0.0.1.evil.example"}, 403, "wrong_host"),
        ({"Host": "localhost.evil.example"}, 403, "wrong_host"),
        ({"Host": "evil@localhost"}, 403, "wrong_host"),
        ({"Host": ""}, 403, "wrong_host"),
        ({"Origin": "http://evil.example"}, 403, "wrong_origin"),
        ({"Origin": "http://localhost:1"}, 403, "wrong_origin"),
        ({"Origin": "null"}, 403, "wrong_origin"),
        ({"Origin": "http://[broken"}, 403, "wrong_origin"),
        ({"Sec-Fetch-Site": "cross-site"}, 403, "wrong_origin"),
        ({"Content-Type": "text/plain"}, 415, "not_json"),
        ({"Content-Type": "text/plain; application/json"}, 415, "not_json"),
        ({"Content-Type": "application/x-www-form-urlencoded"}, 415, "not_json"),
        ({"Content-Type": "multipart/form-data; boundary=x"}, 415, "not_json"),
        ({"Content-Type": ""}, 415, "not_json"),
        ({"Content-Encoding": "gzip"}, 415, "compressed"),
        # Programs of this machine, and what they send.
        ({}, 200, ""),
        ({"Host": "localhost"}, 200, ""),
        ({"Host": "LOCALHOST.:8470"}, 200, ""),
        ({"Host": "[::1]:8470"}, 200, ""),
        ({"Host": "192.168.1.2"}, 200, ""),
        ({"Content-Type": "application/json; charset=utf-8"}, 200, ""),
        ({"Host": "localhost:8470", "Origin": "http://localhost:8470"}, 200, ""),
        ({"Sec-Fetch-Site": "same-origin"}, 200, ""),
    ],
)
def test_no_web_page_is_served(server, headers, status, code):
    found, content, _ = server.complete(request(urls(1)[0]), headers=headers)
    assert found == status, content
    assert content.get("error", {}).get("code", "") == code


def test_a_preflight_is_refused(server):
    asked = {"Access-Control-Request-Method": "POST", "Origin": "http://evil.example"}
    status, _, headers = server.call("OPTIONS", "/v1/chat/completions", headers=asked)
    assert status == 403
    assert not [name for name in headers if name.lower().startswith("access-control-")]
    for path in ("/health", "/v1/models", "/x"):
        assert server.call("GET", path, headers={"Host": "evil.example"})[0] == 403


@pytest.mark.slow
def test_requests_that_never_end_keep_nobody_out(server):
    """They hold no place in the queue of 6, and are given up after 30 s."""
    unfinished = [
        connected(server, f"{HEAD}Host: localhost\r\nContent-Length: 1000\r\n\r\n{{")
        for _ in range(64)
    ]
    headless = connected(server, HEAD)
    start = time.monotonic()
    assert server.describe(urls(1)[0])
    assert server.health()["queued"] == 0
    for connection in unfinished[1:]:
        connection.close()
    # Bytes that trickle in do not prolong it.
    wait_for(lambda: _trickle(headless) or time.monotonic() > start + 60, "the end of headers")
    wait_for(lambda: _trickle(unfinished[0]) or time.monotonic() > start + 60, "the end of a body")
    assert time.monotonic() - start < 60
    assert server.describe(urls(1)[0])


def _trickle(connection):
    """Send a byte, and return whether the server has answered or closed the connection."""
    try:
        connection.settimeout(0.5)
        connection.sendall(b" ")
        return connection.recv(1 << 16) is not None
    except TimeoutError:
        return False
    except OSError:
        return True


def test_idle_connections_are_limited_and_keep_nobody_out(server):
    before = descriptors(server)
    idle = [connected(server, b"") for _ in range(600)]
    assert server.describe(urls(1)[0])
    # 6 regions wait, 4 are described, and 64 more; up to 128 are accepted at once.
    assert descriptors(server) - before < 74 + 128 + 10
    for connection in idle:
        connection.close()


def test_a_client_that_reads_no_answers_is_disconnected(server):
    connection = connected(server, b"")
    asked = b"GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n" * 1000
    connection.settimeout(0.5)
    for _ in range(10_000):
        try:
            connection.sendall(asked)
        except OSError:
            break
    else:
        pytest.fail("the server takes any number of requests")
    assert server.describe(urls(1)[0])
    connection.close()


@pytest.mark.parametrize(
    "data",
    [
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nA: " + b"a" * 20_000 + b"\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"a: b\r\n" * 1000 + b"\r\n",
        b"GET / HTTP/1.1\r\nHost: localhost\r\nHost: evil.example\r\n\r\n",
        b"GET /\x1b[31m\r\n log line HTTP/1.1\r\n\r\n",
        HEAD.encode() + b"Host: localhost\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        HEAD.encode() + b"Host: localhost\r\nContent-Length: -1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused_without_a_log(server, data):
    before = server.log.read_text()
    assert re.match(r"HTTP/1\.[01] 40[0-9] ", answer(connected(server, data)))
    assert server.log.read_text() == before


def test_a_body_of_many_values_is_refused_before_it_is_read(server):
    for body in (b"[" + b"[]," * 10**7 + b"1]", b'{"a":' * 10**6, b"[" * 10**6):
        status, content, _ = server.complete(body)
        assert (status, content["error"]["code"]) == (400, "bad_json")


@pytest.mark.parametrize("value", ["1e999", "-1e999", "NaN", "1" * 5000])
def test_numbers_that_are_none_are_refused(server, value):
    body = json.dumps(request(urls(1)[0], temperature="?")).replace('"?"', value)
    assert server.complete(body.encode())[0] == 400


def test_foreign_text_in_an_error_is_short_and_printable(server):
    long = "\x1b[31m\n" * 10_000
    for body in (
        {"messages": [{"role": long, "content": ""}]},
        request(long),
        request("data:" + long),
        request(urls(1)[0], temperature=10**1000),
    ):
        status, content, _ = server.complete(body)
        message = content["error"]["message"]
        assert status == 400
        assert len(message) < 500 and message.isprintable(), message
    assert "\x1b" not in server.log.read_text()


def test_without_the_token_health_names_no_reason_and_no_path(start, load_gate):
    server = start()
    for token in ("", "wrong"):
        _, content, _ = server.call("GET", "/health", token=token)
        assert "error" not in content and "/" not in json.dumps(content)


@pytest.mark.slow
def test_large_pictures_are_decoded_one_after_the_other(server):
    picture = Image.new("RGBA", (7900, 5000))
    picture.paste((9, 9, 9, 255), (100, 100, 300, 300))
    body = json.dumps(request(data_url(picture))).encode()
    status = Path(f"/proc/{server.process.pid}/status")

    def memory(name):
        return int(re.search(rf"{name}:\s+(\d+)", status.read_text())[1]) / 1024

    before = memory("VmHWM")
    answers = together(lambda _: server.complete(body)[0], range(6))
    assert answers == [200] * 6
    # One of them takes 160 MB as RGBA, 120 as RGB, and 160 for its mask.
    assert memory("VmHWM") - before < 900
    assert memory("VmRSS") - before < 400


def test_small_pictures_do_not_wait_for_large_ones(server):
    large = json.dumps(request(data_url(Image.new("RGBA", (7900, 5000), (1, 1, 1, 255))))).encode()
    sent = [server.connect() for _ in range(3)]
    for connection in sent:
        connection.request("POST", "/v1/chat/completions", large, HEADERS)
    start = time.monotonic()
    assert server.describe(data_url(rgba()))
    small = time.monotonic() - start
    assert [connection.getresponse().status for connection in sent] == [200] * 3
    assert small < time.monotonic() - start
