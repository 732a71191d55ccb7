"""Faults of the chat server: it refuses, hangs, drips, lies, explodes, dies and comes back.

The file is longer than others, so that all faults of one kind are together.
"""

import functools
import gzip
import itertools
import json
import socket
import struct
import threading
import time

from faults.hostile import MARKED, text
from faults.table import fault
from support.chat_server import WORDS, completion, lm_studio
from support.hostile_server import RawServer

HTTP = "HTTP/1.1"
# What a mode returns that left a request to the good server.
PASSED = object()
# A fault ends after so many requests, or where it keeps the node away, after a time.
ENOUGH, NOTICED_WITHIN_S = 3, 6.0
# A breaker leaves a server alone for a minute at most.
USED_AGAIN_WITHIN_S = 120.0
DEEP = b"[" * 100_000


@functools.cache
def bomb():
    """Return 200 kB that become 200 MB."""
    return gzip.compress(bytes(200_000_000), 9)


class FaultyServer(RawServer):
    """A chat server on the loopback. ``mode(exchange)`` answers; None: as a good server does."""

    def __init__(self):
        self.mode = None
        self.good_answers = 0
        self.end_of_fault = threading.Event()
        super().__init__()

    def converse(self, connection, stream):
        while exchange := Exchange.read(self, connection, stream):
            (self.mode or good)(exchange)


class Exchange:
    """A request, and the means to answer it."""

    def __init__(self, server, connection, method, path):
        self.server, self.connection, self.method, self.path = server, connection, method, path

    @classmethod
    def read(cls, server, connection, stream):
        line = stream.readline(10_000).decode("latin1").split()
        if len(line) < 2:
            return None
        length = 0
        while (header := stream.readline(10_000)) not in (b"\r\n", b""):
            name, _, value = header.decode("latin1").partition(":")
            if name.lower() == "content-length":
                length = int(value)
        stream.read(length)
        return cls(server, connection, *line[:2])

    def send(self, data):
        self.connection.sendall(data)

    def reply(self, body, status="200 OK", headers=(), length=None):
        if not isinstance(body, bytes):
            body = (
                body.encode("utf-8", "surrogatepass")
                if isinstance(body, str)
                else json.dumps(body).encode()
            )
        head = {
            "Content-Type": "application/json",
            "Content-Length": len(body) if length is None else length,
            **dict(headers),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in head.items())
        self.send(f"{HTTP} {status}\r\n{lines}\r\n".encode("latin1", "replace") + body)

    def close(self):
        self.connection.shutdown(socket.SHUT_RDWR)


def good(exchange):
    if exchange.method == "POST":
        exchange.server.good_answers += 1
        exchange.reply(completion(WORDS))
    else:
        exchange.reply({"models": [lm_studio(parallel=2)]})


def lasts(world, mode):
    """Begin a fault of the server, let the node notice it, end it, and let the node recover."""
    met = []

    def counted(exchange):
        handled = mode(exchange)
        met.append(handled is not PASSED)

    server = world.server
    server.end_of_fault.clear()
    server.mode = counted
    # A server that fails is left alone for some seconds, and so may this fault be.
    world.spin_until(lambda: sum(met) >= ENOUGH, NOTICED_WITHIN_S)
    yield
    server.mode = None
    server.end_of_fault.set()
    server.drop_all()
    used_again(world)


def used_again(world):
    before = world.server.good_answers
    world.graph.until(
        lambda: world.server.good_answers > before,
        lambda: world.report("that the server, which is well again, is asked"),
        USED_AGAIN_WITHIN_S,
    )


def only(method, mode):
    """Leave requests of the other method to a good server."""

    def some(exchange):
        if exchange.method == method:
            return mode(exchange)
        good(exchange)
        return PASSED

    return some


@fault()
def is_dead(world, chance):
    world.server.die()
    yield
    world.server.open()
    used_again(world)


@fault()
def dies_and_comes_back(world, chance):
    for _ in range(chance.randint(1, 4)):
        world.server.die()
        world.graph.spin(chance.choice((0.0, 0.3, 1.0)))
        world.server.open()
        world.graph.spin(chance.choice((0.0, 0.3)))
    yield


@fault()
def drops(world, chance):
    def mode(exchange):
        linger = struct.pack("ii", 1, 0)
        exchange.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        exchange.connection.close()

    yield from lasts(world, chance.choice((mode, only("POST", mode))))


@fault()
def hangs(world, chance):
    def mode(exchange):
        exchange.server.end_of_fault.wait(60)

    yield from lasts(world, chance.choice((mode, only("POST", mode))))


@fault(weight=2)
def errors(world, chance):
    status = chance.choice((400, 401, 403, 404, 405, 408, 409, 413, 422, 429, 500, 501, 502, 503,
                            504, 100, 204, 206, 299, 304, 600, 999))  # fmt: skip
    body = chance.choice((
        {"error": {"message": f"{MARKED} {text(chance, 3000)}"}}, {"error": MARKED}, MARKED, "",
        f"<html><title>{MARKED}</title>{text(chance, 9999)}</html>", {"detail": [MARKED] * 10_000},
        {"error": {"message": {"a": [1, MARKED, None]}}}, {"error": 5}, [], None, "null",
        {"error": {"message": "\ud800 " + MARKED}},
    ))  # fmt: skip
    retry = chance.choice(((), {"Retry-After": "1"}, {"Retry-After": "-1"}, {"Retry-After": "nan"},
                           {"Retry-After": "9" * 400}, {"Retry-After": "soon"}))  # fmt: skip

    def mode(exchange):
        exchange.reply(body, f"{status} {MARKED}", retry)

    yield from lasts(world, chance.choice((mode, only("POST", mode))))


@fault()
def redirects(world, chance):
    place = chance.choice((
        "http://127.0.0.1:1/v1/chat/completions", "https://example.invalid/", "//evil.invalid/x",
        "file:///etc/passwd", "/v1/chat/completions", "", "http://[::1", "\x1b[2J", "data:,x",
        f"http://127.0.0.1:{world.server.port}/v1/../../x",
    ))  # fmt: skip
    status = chance.choice((301, 302, 303, 307, 308))

    def mode(exchange):
        exchange.reply("", f"{status} Elsewhere", {"Location": place})

    yield from lasts(world, chance.choice((mode, only("POST", mode))))


@fault()
def drips(world, chance):
    def mode(exchange):
        body = json.dumps(completion(WORDS)).encode()
        exchange.send(f"{HTTP} 200 OK\r\nContent-Length: {len(body)}\r\n\r\n".encode())
        for each in body:
            if exchange.server.end_of_fault.wait(0.3):
                return
            exchange.send(bytes([each]))

    yield from lasts(world, only("POST", mode))


@fault()
def bombs(world, chance):
    def packed(exchange):
        exchange.reply(bomb(), headers={"Content-Encoding": "gzip"})

    def endless(exchange):
        exchange.send(f"{HTTP} 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n".encode())
        while not exchange.server.end_of_fault.is_set():
            exchange.send(b"10000\r\n" + b" " * 0x10000 + b"\r\n")

    def claimed(exchange):
        exchange.reply(b"{", length=10**12)
        exchange.server.end_of_fault.wait(30)

    def deep(exchange):
        exchange.reply(DEEP)

    def headers(exchange):
        exchange.reply("{}", headers={f"X-{number}": "x" * 8000 for number in range(3000)})

    mode = chance.choice((packed, endless, claimed, deep, headers))
    yield from lasts(world, chance.choice((mode, only("POST", mode), only("GET", mode))))


@fault(weight=2)
def garbage(world, chance):
    makes = (
        lambda e: e.send(chance.randbytes(500)) or e.close(),
        lambda e: e.send(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n") or e.close(),
        lambda e: e.send(b"HTTP/9.9 abc\r\n\r\n") or e.close(),
        lambda e: e.send(b"\r\n" * 100) or e.close(),
        lambda e: e.reply(chance.randbytes(300)),
        lambda e: e.reply(json.dumps(completion(WORDS)), length=5),
        lambda e: e.reply(json.dumps(completion(WORDS))[:90], length=5000) or e.close(),
        lambda e: e.reply(chance.randbytes(99), headers={"Content-Encoding": "gzip"}),
        lambda e: e.reply(chance.randbytes(99), headers={"Content-Encoding": "br, zstd, x"}),
        lambda e: e.reply("{}", headers={"Content-Type": "image/png; charset=\x1b[2J"}),
        lambda e: e.reply("{}", headers={"Content-Type": "text/html; charset=utf-7"}),
    )
    mode = chance.choice(makes)
    yield from lasts(world, chance.choice((mode, only("POST", mode))))


def any_json(chance, depth=3):
    """A JSON value of any shape, with the names that a server uses."""
    names = (
        "models", "data", "id", "key", "type", "loaded_instances", "config", "choices", "message",
        "content", "parallel", "capabilities", "vision", "usage", "model",
    )  # fmt: skip
    kind = chance.randrange(9 if depth else 7)
    if kind == 7:
        return [any_json(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 8:
        drawn = chance.sample(names, chance.randrange(5))
        return {name: any_json(chance, depth - 1) for name in drawn}
    if kind == 6:
        return text(chance, 200)
    return (None, True, -1, 1e308, 10**400, "\ud800")[kind]


@fault(weight=2)
def lists_of_any_shape(world, chance):
    def of(**changes):
        return {"models": [{**lm_studio(), **changes}]}

    makes = (
        lambda: {"models": any_json(chance)},
        lambda: {"data": any_json(chance)},
        lambda: any_json(chance),
        lambda: {"models": [], "data": []},
        lambda: {"data": [{"id": any_json(chance), "object": "model"}]},
        lambda: of(loaded_instances=any_json(chance)),
        lambda: of(loaded_instances=chance.choice((5, "x", [5], [None], [{"id": 5}]))),
        lambda: of(key=any_json(chance)),
        lambda: of(key=chance.choice(("\ud800", "x" * 99_999, text(chance, 5000)))),
        lambda: of(capabilities=any_json(chance)),
        lambda: {"models": [lm_studio(parallel=chance.choice((10**9, "many", -1, [1], 0.5)))]},
        lambda: {"models": [lm_studio(f"model-{number}") for number in range(3000)]},
    )
    # Each question gets another of them.
    listings = itertools.cycle([chance.choice(makes)() for _ in range(20)])
    # The list is read when the server is ready again after an outage.
    world.server.die()
    world.graph.spin(1.0)
    world.server.open()
    yield from lasts(world, only("GET", lambda exchange: exchange.reply(next(listings))))


@fault(weight=2)
def answers_of_any_shape(world, chance):
    def answer():
        words = {name: any_json(chance) if chance.random() < 0.5 else WORDS[name] for name in WORDS}
        content = chance.choice((
            json.dumps(words), any_json(chance), [{"type": "text", "text": any_json(chance)}], "",
            "```json\n" + json.dumps(words) + "\n```", "<think>" * 5000, "[" * 5000,
            json.dumps({**WORDS, "label": text(chance, 9999), "caption": text(chance, 99_999)}),
            text(chance, 99_999),
        ))  # fmt: skip
        reason = chance.choice(("stop", "length", "content_filter", None, 7))
        choices = [{"index": 0, "finish_reason": reason,
                    "message": {"role": "assistant", "content": content}}]  # fmt: skip
        return {"object": "chat.completion", "model": any_json(chance),
                "choices": chance.choice((choices, any_json(chance)))}  # fmt: skip

    yield from lasts(world, only("POST", lambda exchange: exchange.reply(answer())))


@fault()
def answers_late(world, chance):
    late_s = chance.choice((0.5, 1.9, 2.1, 4.0))

    def mode(exchange):
        time.sleep(late_s)
        good(exchange)

    yield from lasts(world, mode)
