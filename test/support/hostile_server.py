"""A server on the loopback that writes any bytes, at any pace, as the answer to a request."""

import contextlib
import json
import socket
import threading

from support.chat_server import WORDS, completion, lm_studio

GOOD_BODY = json.dumps(completion(WORDS)).encode()
LISTING = json.dumps({"models": [lm_studio()]}).encode()


def http(body=b"", status="200 OK", *headers, length=None):
    """The bytes of an answer; ``length``: what its header says, if that is wrong."""
    lines = [f"HTTP/1.1 {status}", "Content-Type: application/json", *headers]
    lines.append(f"Content-Length: {len(body) if length is None else length}")
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + body


def endless(unit, head=b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n\r\n"):
    """Blocks without an end."""
    yield head
    block = unit * (1 + 65536 // len(unit))
    while True:
        yield block


class RawServer:
    """Listens on the loopback; ``converse(connection, stream)`` serves each connection in a thread.

    ``die`` and ``open`` end it and bring it back, at the same port.
    """

    def __init__(self):
        self.port = 0
        self.connections, self.threads = set(), set()
        self.open()

    @property
    def url(self):
        return f"http://127.0.0.1:{self.port}/v1"

    def open(self):
        self.listener = socket.create_server(("127.0.0.1", self.port), backlog=128)
        self.port = self.listener.getsockname()[1]
        self.start(self.accept, self.listener)

    def die(self):
        # Closing alone would not wake the thread that accepts.
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.drop_all()

    def drop_all(self):
        for connection in list(self.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def start(self, target, *arguments):
        thread = threading.Thread(target=target, args=arguments, name="hostile", daemon=True)
        self.threads.add(thread)
        thread.start()

    def accept(self, listener):
        while True:
            try:
                connection = listener.accept()[0]
            except OSError:
                break
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.connections.add(connection)
            self.start(self.serve, connection)
        self.threads.discard(threading.current_thread())

    def serve(self, connection):
        with (
            contextlib.suppress(OSError, ValueError),
            connection,
            connection.makefile("rb") as stream,
        ):
            self.converse(connection, stream)
        self.connections.discard(connection)
        self.threads.discard(threading.current_thread())


class HostileServer(RawServer):
    """``answer(path)`` gives the blocks of an answer; a None among them is a pause.

    A request for a list is answered well unless ``lists`` is true.
    """

    def __init__(self, answer, *, lists=False):
        self.answer = answer if callable(answer) else lambda path: answer
        self.lists = lists
        self.heads, self.bodies, self.sent = [], [], 0
        self.stop = threading.Event()
        super().__init__()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.die()
        for thread in list(self.threads):
            thread.join()

    def converse(self, connection, stream):
        while head := self.read_head(stream):
            path = head.split()[1]
            if path.endswith("/chat/completions") or self.lists:
                blocks = self.answer(path)
            else:
                blocks = [http(LISTING)]
            for block in [blocks] if isinstance(blocks, bytes) else blocks:
                if block is None:
                    if self.stop.wait(0.05):
                        return
                else:
                    connection.sendall(block)
                    self.sent += len(block)

    def read_head(self, stream):
        lines = []
        while (line := stream.readline()).strip():
            lines.append(line.decode("latin-1").strip())
        head = "\n".join(lines)
        self.heads += [head] if head else []
        for line in lines:
            name, _, value = line.partition(":")
            if name.lower() == "content-length":
                self.bodies.append(json.loads(stream.read(int(value))))
        return head
