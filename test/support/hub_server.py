"""A server on the loopback that answers as the hub does, and fails as a test configures it.

As in reality, there are two origins: the hub (API, `resolve`, small files), and the storage that
large files are redirected to, which must not receive the token.
"""

import contextlib
import hashlib
import json
import re
import socket
import struct
import threading
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

COMMIT = "1f" * 20


def git_id(data):
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


class Hub:
    """Serves ``files`` for every repository; tests set the attributes that make it fail."""

    def __init__(self, files, commit=COMMIT):
        self.files, self.commit = dict(files), commit
        self.status, self.headers = 0, {}  # the hub's answer to everything
        self.silent = False  # the hub takes connections and never answers
        self.cuts = []  # the storage closes each connection after this number of bytes ...
        self.reset = False  # ... with a reset
        self.stall_at = None  # the storage pauses at this byte of a file ...
        self.resumed = threading.Event()  # ... until this event
        self.rate = None  # bytes a second
        self.storage_statuses = []  # its next answers, 0: the file
        self.flipped = {}  # file -> bytes sent in place of the true ones
        self.no_ranges = False
        self.requests = []  # (who, method, path, headers)
        self.stop = threading.Event()

    def __enter__(self):
        self.servers = [_serve(self, handler) for handler in (_HubHandler, _StorageHandler)]
        ports = [server.server_address[1] for server in self.servers]
        # Two names: huggingface_hub 1 takes two ports of one name for the same host.
        self.url, self.storage_url = f"http://127.0.0.1:{ports[0]}", f"http://localhost:{ports[1]}"
        return self

    def __exit__(self, *_):
        self.stop.set()
        self.resumed.set()
        for server in self.servers:
            server.shutdown()
            server.server_close()

    def seen(self, who, method="GET"):
        return [entry for entry in self.requests if entry[:2] == (who, method)]

    def ranges(self):
        return [headers.get("Range") for _, _, _, headers in self.seen("storage")]


def _serve(hub, handler):
    server = ThreadingHTTPServer(("127.0.0.1", 0), type("Bound", (handler,), {"hub": hub}))
    server.daemon_threads = True
    server.block_on_close = False
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    return server


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    hub, who = None, ""

    def log_message(self, *_):
        pass

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        headers = {name.title(): value for name, value in self.headers.items()}
        self.hub.requests.append((self.who, self.command, self.path, headers))
        # The client may leave, or this test end, in the middle.
        with contextlib.suppress(ConnectionError):
            self.answer()

    def reply(self, status, headers=(), body=b""):
        self.send_response(status)
        for name, value in dict(headers).items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command == "GET":
            self.wfile.write(body)


class _HubHandler(_Handler):
    who = "hub"

    def answer(self):
        hub, path = self.hub, urlsplit(self.path).path
        if hub.silent:
            hub.stop.wait(30)
        elif hub.status:
            self.reply(hub.status, hub.headers, b'{"error": "as the test asks"}')
        elif found := re.fullmatch(r"/api/models/([^/]+/[^/]+)/revision/(.+)", path):
            self.info(*found.groups())
        elif found := re.fullmatch(r"/([^/]+/[^/]+)/resolve/([^/]+)/(.+)", path):
            self.resolve(*found.groups())
        elif found := re.fullmatch(r"/api/resolve-cache/models/[^/]+/[^/]+/[^/]+/(.+)", path):
            data = hub.flipped.get(found[1], hub.files[found[1]])
            self.reply(200, self.facts(hub.files[found[1]]), data)
        else:
            self.reply(404)

    def known(self, revision):
        if revision in ("main", self.hub.commit):
            return True
        self.reply(404, {"X-Error-Code": "RevisionNotFound"})
        return False

    def facts(self, data):
        return {"X-Repo-Commit": self.hub.commit, "ETag": f'"{git_id(data)}"'}

    def info(self, repo, revision):
        if not self.known(revision):
            return
        siblings = [
            {"rfilename": name, "size": len(data), "blobId": git_id(data)}
            | ({"lfs": _lfs(data)} if name.endswith(".safetensors") else {})
            for name, data in self.hub.files.items()
        ]
        body = {"_id": "x", "id": repo, "modelId": repo, "private": False, "siblings": siblings}
        body |= {"sha": self.hub.commit, "tags": [], "downloads": 0, "likes": 0}
        self.reply(200, {"Content-Type": "application/json"}, json.dumps(body).encode())

    def resolve(self, repo, revision, name):
        hub = self.hub
        if not self.known(revision):
            return
        if name not in hub.files:
            self.reply(404, {"X-Error-Code": "EntryNotFound", "X-Repo-Commit": hub.commit})
            return
        data = hub.files[name]
        if name.endswith(".safetensors"):
            digest = hashlib.sha256(data).hexdigest()
            headers = {
                "X-Repo-Commit": hub.commit,
                "X-Linked-Size": str(len(data)),
                "X-Linked-Etag": f'"{digest}"',
                "X-Xet-Hash": digest,
                "Link": f'<{hub.url}/api/models/{repo}/xet-read-token/x>; rel="xet-auth"',
                "Location": f"{hub.storage_url}/{name}?signature=secret",
            }
            self.reply(302, headers)
        else:
            where = f"/api/resolve-cache/models/{repo}/{hub.commit}/{name}"
            self.reply(307, self.facts(data) | {"Location": where})


def _lfs(data):
    return {"sha256": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}


class _StorageHandler(_Handler):
    who = "storage"

    def answer(self):
        hub, name = self.hub, urlsplit(self.path).path[1:]
        if hub.storage_statuses and (status := hub.storage_statuses.pop(0)):
            self.reply(status)
            return
        data, start = hub.flipped.get(name, hub.files[name]), 0
        asked = re.fullmatch(r"bytes=(\d+)-", self.headers.get("Range", ""))
        if asked and not hub.no_ranges:
            start = int(asked[1])
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {start}-{len(data) - 1}/{len(data)}")
        else:
            self.send_response(200)
        self.send_header("Content-Length", str(len(data) - start))
        self.end_headers()
        if hub.stall_at is None or not start <= hub.stall_at < len(data):
            self.send(data[start:])
            return
        self.send(data[start : hub.stall_at])
        hub.resumed.wait()
        if not hub.stop.is_set():
            self.send(data[hub.stall_at :])

    def send(self, data):
        hub = self.hub
        cut = hub.cuts.pop(0) if hub.cuts else None
        step = 1 << 16 if hub.rate is None else max(1, hub.rate // 20)
        for at in range(0, len(data), step):
            block = data[at : at + step]
            if cut is not None and at + len(block) >= cut:
                self.wfile.write(block[: cut - at])
                self.break_off()
                return
            self.wfile.write(block)
            if hub.rate is not None and hub.stop.wait(1 / 20):
                return

    def break_off(self):
        self.close_connection = True
        if self.hub.reset:
            time.sleep(0.2)  # a reset overtakes bytes that were not read yet
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()
        else:
            self.connection.shutdown(socket.SHUT_RDWR)
