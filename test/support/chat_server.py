"""A chat server on the loopback that answers as it is told: LM Studio and others, on bad days."""

import base64
import contextlib
import json
import socket
import struct
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

WORDS = {
    "label": "red cup", "caption": "A red cup with a white rim.", "category": "container",
    "attributes": ["glossy", "round"], "color": "red", "material": "ceramic", "state": ["empty"],
    "affordances": ["grasp"], "confidence": "high",
}  # fmt: skip


def lm_studio(name="qwen-vl", *, vision=True, loaded=True, parallel=None):
    config = {"context_length": 4096, **({"parallel": parallel} if parallel else {})}
    instances = [{"id": name, "config": config}] if loaded else []
    return {"type": "llm", "key": name, "capabilities": {"vision": vision},
            "loaded_instances": instances}  # fmt: skip


def completion(content, *, model="qwen-vl", reason="stop", **message):
    if not isinstance(content, (str, list, type(None))):
        content = json.dumps(content)
    message = {"role": "assistant", "content": content, **message}
    return {"object": "chat.completion", "model": model,
            "choices": [{"index": 0, "message": message, "finish_reason": reason}]}  # fmt: skip


class Reply:
    """One HTTP answer; ``cut``: the connection is reset after so many bytes of the body."""

    def __init__(self, body, status=200, headers=(), kind="application/json", cut=None):
        if isinstance(body, str):
            body = body.encode()
        self.data = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.headers, self.kind, self.cut = status, dict(headers), kind, cut


GOOD = Reply(completion(WORDS))
DROP = Reply("", cut=0)
NO_ENDPOINT = Reply({"error": "Unexpected endpoint or method."})


class LmStudio:
    """LM Studio's own API for models, from 0.4.0: lists, loads and unloads what is downloaded.

    ``engine(key)`` runs while a model loads; what it returns, a Reply, is the failure.
    """

    def __init__(self, *keys, engine=None):
        self.instances = {key: [] for key in keys}
        self.engine = engine or (lambda key: None)
        self.loads, self.unloads = [], []

    def listing(self):
        models = [lm_studio(key, loaded=False) for key in self.instances]
        for model in models:
            model["loaded_instances"] = [
                {"id": name, "config": {"context_length": 4096, "parallel": 4}}
                for name in self.instances[model["key"]]
            ]
        return Reply({"models": models})

    def load(self, body):
        self.loads.append(body)
        # The request takes no unknown keys (seen of 0.4.23).
        if set(body) - {"model", "context_length", "echo_load_config"}:
            return Reply(
                {"error": {"type": "invalid_request", "message": "Unrecognized key(s)"}}, 400
            )
        key = body["model"]
        if key not in self.instances:
            message = f"Model {key} not found in downloaded models"
            return Reply({"error": {"type": "model_not_found", "message": message}}, 404)
        failure = self.engine(key)
        if failure is not None:
            return failure
        loaded = self.instances[key]
        name = f"{key}:{len(loaded) + 1}" if loaded else key
        loaded.append(name)
        return Reply(
            {"type": "llm", "instance_id": name, "load_time_seconds": 9.1, "status": "loaded"}
        )

    def unload(self, body):
        self.unloads.append(body)
        for loaded in self.instances.values():
            if body.get("instance_id") in loaded:
                loaded.remove(body["instance_id"])
                return Reply({"instance_id": body["instance_id"]})
        return Reply({"error": {"type": "model_not_found", "message": "No such instance"}}, 404)

    @property
    def calls(self):
        return {"/api/v1/models/load": self.load, "/api/v1/models/unload": self.unload}


class Server:
    """``answer(request)`` gives the Reply to a chat request; ``listings`` the others' by path.

    With ``lm``, an LmStudio, it has that one's models.
    """

    def __init__(self, answer=None, listings=None, port=0, lm=None):
        self.answer = answer or (lambda request: GOOD)
        self.listings = listings or {"/api/v1/models": Reply({"models": [lm_studio()]})}
        self.calls = {}
        if lm is not None:
            self.listings, self.calls = {"/api/v1/models": lm.listing}, lm.calls
        self.requests, self.headers, self.paths, self.listed = [], [], [], 0
        self.now = self.most = 0
        self.lock = threading.Lock()
        self.port = port

    def __enter__(self):
        handler = type("Handler", (_Handler,), {"server_state": self})
        self.httpd = _Quiet(("127.0.0.1", self.port), handler)
        self.port = self.httpd.server_address[1]
        self.url = f"http://127.0.0.1:{self.port}/v1"
        self.thread = threading.Thread(
            target=self.httpd.serve_forever, kwargs={"poll_interval": 0.02}, name="test-server"
        )
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        for connection in list(self.httpd.connections):
            with contextlib.suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
        self.httpd.server_close()
        self.thread.join()


class _Quiet(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128

    def __init__(self, *args):
        self.connections = set()
        super().__init__(*args)

    def process_request(self, request, address):
        self.connections.add(request)
        super().process_request(request, address)

    def shutdown_request(self, request):
        self.connections.discard(request)
        super().shutdown_request(request)

    def handle_error(self, request, address):
        pass


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # a body after its headers would wait 40 ms
    server_state = None

    def do_GET(self):
        self.server_state.listed += 1
        reply = self.server_state.listings.get(self.path.partition("?")[0], NO_ENDPOINT)
        self.reply(reply() if callable(reply) else reply)

    def do_POST(self):
        server = self.server_state
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path.partition("?")[0] != "/v1/chat/completions":
            call = server.calls.get(self.path, lambda request: NO_ENDPOINT)
            self.reply(call(request))
            return
        with server.lock:
            server.requests.append(request)
            server.paths.append(self.path)
            server.headers.append({key.lower(): value for key, value in self.headers.items()})
            server.now += 1
            server.most = max(server.most, server.now)
        try:
            reply = server.answer(request)
        finally:
            with server.lock:
                server.now -= 1
        self.reply(reply)

    def reply(self, reply):
        if reply.cut is not None:
            self.close_connection = True
            linger = struct.pack("ii", 1, 0)
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
            if reply.cut == 0:
                self.connection.close()
                return
        self.send_response(reply.status)
        self.send_header("Content-Type", reply.kind)
        self.send_header("Content-Length", str(len(reply.data)))
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(reply.data[: reply.cut])

    def log_message(self, *args):
        pass


def form(request):
    text = request["messages"][0]["content"][0]["text"]
    if "response_format" in request:
        return "json_schema"
    return "json" if "JSON object" in text else "text"


def pictures(request):
    """The JPEG pictures of a request."""
    found = []
    for part in request["messages"][0]["content"][1:]:
        head, data = part["image_url"]["url"].split(",")
        assert head == "data:image/jpeg;base64"
        found.append(base64.b64decode(data))
    return found


def picture(request):
    (found,) = pictures(request)
    return found


@contextlib.contextmanager
def gated_server(gate, *, at_once=0):
    """A server that answers so many questions at once and lets the others wait for the gate."""

    def answer(request):
        if len(server.requests) > at_once:
            gate.wait(120)
        return GOOD

    with Server(answer) as server:
        yield server
        gate.set()
