"""How a chat server is reached: addresses, proxies, certificates, and the body of its answers.

This file is longer than 300 lines because its tests share an environment without proxies.
"""

import json
import shutil
import socket
import ssl
import subprocess
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.chat import Chat
from deep_perception.describers.server import routing
from deep_perception.describers.server.bodies import decode_body
from deep_perception.describers.server.endpoints import api_paths, root_of
from deep_perception.redaction.addresses import parse_address
from deep_perception.settings.options import settings_from
from support.chat_scene import describe, one
from support.chat_server import GOOD, NO_ENDPOINT, WORDS, Reply, Server, completion

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]
PROXIES = [
    f"{name}{end}" for name in ("http", "https", "all", "no") for end in ("_proxy", "_PROXY")
] + [f"{name}_PROXY" for name in ("HTTP", "HTTPS", "ALL", "NO")]
TRUST = ("SSL_CERT_FILE", "SSL_CERT_DIR", "REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch):
    for name in (*PROXIES, *TRUST):
        monkeypatch.delenv(name, raising=False)


# -- addresses -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end",
    [
        "", "/", "/v1", "/v1/", "//v1//", "/v1/models", "/v1/chat/completions",
        "/v1/chat/completions/", "/chat/completions", "/v1/completions", "/v1/responses",
        "/api/v0", "/api/v0/models", "/api/v1/models", "/api/v1/chat", "/api/chat", "/api",
        "/v1/v1", "/v1#there",
    ],
)  # fmt: skip
def test_the_api_is_found_from_whatever_address_was_copied(end):
    with Server(listings={"/v1/models": Reply({"data": [{"id": "only"}]})}) as server:
        url = server.url.removesuffix("/v1") + end
        for model in ("", "named"):
            (words,), warnings = describe(server, url=url, model=model and "only")
            assert (words.status, words.model, warnings) == ("described", "qwen-vl", ())
    assert len(server.requests) == 2


def test_a_server_that_lists_no_models_is_found_with_the_first_region():
    with Server(listings={"/none": NO_ENDPOINT}) as server:
        words, warnings = describe(server, 5, url=server.url.removesuffix("/v1"), model="m")
    assert {one.status for one in words} == {"described"}
    assert warnings == ()
    assert len(server.requests) == 5


@pytest.mark.parametrize(
    ("path", "root", "tried"),
    [
        ("", "", ("/v1", "")),
        ("/llm", "/llm", ("/llm/v1", "/llm")),
        ("/openai/v1", "/openai", ("/openai/v1",)),
        ("/v1beta/openai", "/v1beta/openai", ("/v1beta/openai",)),
        ("/api/paas/v4/chat/completions", "/api/paas/v4", ("/api/paas/v4",)),
        ("/api/v1", "", ("/api/v1", "/v1")),
        ("/api/v1/chat/completions", "", ("/api/v1", "/v1")),
        ("/v1/models/org", "", ("/v1",)),
    ],
)
def test_the_paths_that_are_tried(path, root, tried):
    assert root_of(path) == root
    assert api_paths(path) == tried


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("", "describer.url: '' is no http address; expected for example http://host:1234/v1"),
        ("localhost:1234/v1", "is no http address; expected for example http://localhost:1234/v1"),
        ("ws://h/v1", "is no http address"),
        ("http://[::1/v1", "is no http address"),
        ("http://h:99999/v1", "is no http address"),
        ("http://a b/v1", "is no http address"),
        ("http://robot:hunter/2@host/v1", "'http://***@host/v1' is no http address"),
        ("http://robot:12/hunter@host/v1", "has an @ behind its host; in a name or password"),
        ("robot:hunter2@host/v1", "expected for example http://***@host/v1"),
    ],
)
def test_a_wrong_address_is_named_at_the_start_without_its_password(url, message):
    with pytest.raises(BackendUnavailable) as caught:
        Chat(settings_from({"describer.url": url}))
    assert message in str(caught.value)
    assert "hunter" not in str(caught.value)


# -- passwords and tokens ------------------------------------------------------------------------


def test_name_and_password_are_sent_and_never_shown(monkeypatch, caplog):
    caplog.set_level("DEBUG")
    monkeypatch.setenv("LM_API_TOKEN", "another-token")
    monkeypatch.setenv("OPENAI_ORG_ID", "org-of-the-user")
    monkeypatch.setenv("OPENAI_CUSTOM_HEADERS", "X-Private: of-the-user")
    echo = "Basic cm9ib3Q6aHVudGVyMi9AIQ== robot:hunter2/@! hunter2%2F%40%21 key s3cret-value"
    with Server(lambda request: Reply({"error": {"message": echo}}, 401)) as server:
        url = server.url.replace("//", "//robot:hunter2%2F%40%21@") + "?api_key=s3cret-value"
        (words,), (warning,) = describe(server, url=url)
    assert server.headers[0]["authorization"] == "Basic cm9ib3Q6aHVudGVyMi9AIQ=="
    assert not {"openai-organization", "x-private"} & set(server.headers[0])
    assert server.paths[-1].endswith("/v1/chat/completions?api_key=s3cret-value")
    assert f"chat server {server.url}: the server does not accept the name and password" in warning
    for text in (warning, words.error, caplog.text):
        assert "hunter2" not in text and "s3cret" not in text and "cm9ib3Q6" not in text


@pytest.mark.parametrize("value", ["s3cret-token\r", "\ufeffs3cret-token", "s3cret-\xfc"])
def test_a_token_that_no_header_can_carry_makes_the_fallback_describe(value, monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", value)
    with pytest.raises(BackendUnavailable) as caught:
        Chat(settings_from({}))
    assert "the token in LM_API_TOKEN has characters that a header cannot carry" in str(
        caught.value
    )
    assert "s3cret" not in str(caught.value)


@pytest.mark.parametrize(
    ("token", "name", "hint"),
    [
        ("'s3cret-token'", "LM_API_TOKEN", "maybe because of the quotation marks around it"),
        ("", "LM_API_TOKEN", "LM_API_TOKEN is not set"),
        ("", "hf9s3cretS3cret", "the environment variable that describer.api_key_env names"),
        ("", "", "(describer.api_key_env is empty) is not set"),
    ],
)
def test_a_refused_token_is_explained(token, name, hint, monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", token)
    with Server(lambda request: Reply({"error": "no"}, 401)) as server:
        _, (warning,) = describe(server, api_key_env=name)
    assert hint in warning
    assert "s3cret" not in warning


@pytest.mark.parametrize("status", [301, 302, 307, 308])
@pytest.mark.parametrize("listed", [True, False])
def test_a_redirect_to_another_server_is_refused_and_named(status, listed, monkeypatch):
    monkeypatch.setenv("LM_API_TOKEN", "s3cret-token")
    with Server() as other, Server() as server:
        to = {"Location": other.url.replace("//", "//me:s3cret@") + "/chat/completions?key=s3cret"}
        server.answer = lambda request: Reply("", status, to)
        if listed:
            server.listings = dict.fromkeys(server.listings, Reply("", status, to))
        words, (warning,) = describe(server, 3)
    assert "the server redirects to http://" in warning and f"127.0.0.1:{other.port}/v1" in warning
    assert "s3cret" not in warning + words[0].error
    assert other.requests == [] and other.listed == 0


def test_a_redirect_on_the_same_server_is_followed():
    with Server() as server:
        server.calls["/v1/there"] = lambda request: GOOD
        server.answer = lambda request: Reply("", 307, {"Location": "/v1/there"})
        (words,), _ = describe(server)
    assert words.status == "described"


# -- bodies --------------------------------------------------------------------------------------

TEXT = json.dumps(completion(WORDS), ensure_ascii=False)
ERROR = json.dumps({"error": {"message": "No models loaded"}})


def events(*deltas, finish="stop", line="data: {}\n\n"):
    chunks = [{"model": "qwen-vl", "choices": [{"delta": delta}]} for delta in deltas]
    chunks.append({"choices": [{"delta": {}, "finish_reason": finish}]})
    return "".join(line.format(json.dumps(chunk)) for chunk in chunks)


CONTENT = json.dumps(WORDS)
HALVES = {"role": "assistant", "content": CONTENT[:30]}, {"content": CONTENT[30:]}


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (TEXT, "text/plain"),
        (TEXT, "application/octet-stream"),
        (TEXT, "application/json; charset=iso-8859-1"),
        (TEXT, "application/json; charset=nonsense"),
        (f"\ufeff{TEXT}", "application/json"),
        (TEXT.encode("utf-16"), "application/json"),
        (f"\n\n  {TEXT}\n", "text/html"),
        (events(*HALVES) + "data: [DONE]\n\n", "text/event-stream"),
        (": ping\n\nevent: x\n" + events(*HALVES), "application/json"),
        (events(*HALVES, line="{}\n"), "application/x-ndjson"),
        (events(*HALVES).replace("\n", "\r\n"), "text/plain"),
        (f"data: {TEXT}\n\ndata: [DONE]\n\n", "text/event-stream"),
    ],
)
def test_an_answer_is_read_whatever_its_headers_say(body, kind):
    (words), warnings, _ = one(Reply(body, kind=kind))
    assert (words.status, words.label, warnings) == ("described", "red cup", ())


@pytest.mark.parametrize("kind", ["text/plain", "application/octet-stream", "text/event-stream"])
@pytest.mark.parametrize("body", [ERROR, f"\ufeff{ERROR}", f"data: {ERROR}\n\n"])
@pytest.mark.parametrize("status", [200, 404])
def test_an_error_is_read_whatever_its_headers_say(body, kind, status):
    _, (warning,), _ = one(Reply(body, status, kind=kind))
    assert "No models loaded" in warning and "lms load" in warning


UNFINISHED = events({"content": "a"}, finish=None)


@pytest.mark.parametrize(
    "data",
    [b"", b"  ", TEXT.encode()[:40], b'data: {"choices": [', b'["a', UNFINISHED.encode()],
)
def test_a_body_that_breaks_off_is_no_answer(data):
    with pytest.raises(ValueError, match=r"empty|breaks off"):
        decode_body(data)


@pytest.mark.parametrize("text", ["Grüße", "<html>", "null and void"])
@pytest.mark.parametrize("codec", ["utf-8", "latin-1", "utf-16"])
def test_a_body_that_is_no_json_is_its_text(text, codec):
    assert decode_body(text.encode(codec), f"text/plain; charset={codec}") == text


@pytest.mark.parametrize("codec", ["iso-8859-1", "cp1252", "gbk", "utf-16-le", "utf-32", "utf-8"])
def test_the_letters_of_json_are_right_or_it_is_no_answer(codec):
    data = json.dumps({"a": "Tasse é 1"}, ensure_ascii=False).encode(codec)
    assert decode_body(data, f"application/json; charset={codec}") == {"a": "Tasse é 1"}
    if codec in ("iso-8859-1", "cp1252", "gbk"):
        with pytest.raises(ValueError, match="in which character set"):
            decode_body(data, "application/json")
    else:
        assert decode_body(data, "application/json; charset=nonsense") == {"a": "Tasse é 1"}


# -- proxies -------------------------------------------------------------------------------------


class Proxy:
    """A proxy that answers every request itself."""

    def __init__(self, status, body=b"<html><title>Access Denied</title></html>", kind="text/html"):
        seen = self.seen = []

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self):
                seen.append((self.path, self.headers.get("Proxy-Authorization", "")))
                self.rfile.read(int(self.headers.get("Content-Length") or 0))
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            do_POST = do_CONNECT = do_GET

            def log_message(self, *args):
                pass

        self.httpd = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.address = f"127.0.0.1:{self.httpd.server_address[1]}"

    def __enter__(self):
        self.thread = threading.Thread(target=self.httpd.serve_forever, args=(0.02,))
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.httpd.shutdown()
        self.httpd.server_close()
        self.thread.join()


@pytest.mark.parametrize("scheme", ["http", "https"])
@pytest.mark.parametrize("status", [403, 407, 502])
def test_the_answer_of_a_proxy_is_named_as_its_own(status, scheme, monkeypatch):
    with Proxy(status) as proxy, Server() as server:
        monkeypatch.setenv(f"{scheme.upper()}_PROXY", f"http://me:s3cret%21@{proxy.address}")
        url = f"{scheme}://gpu.example.org:1234/v1"
        (words,), (warning,) = describe(server, url=url, model="m")
    assert f"the proxy http://{proxy.address} ({scheme.upper()}_PROXY)" in warning
    assert str(status) in warning
    assert "if gpu.example.org can be reached directly, add it to the variable NO_PROXY" in warning
    assert "s3cret" not in warning + words.error and "token" not in warning
    assert proxy.seen and all(sent.startswith("Basic ") for _, sent in proxy.seen)


def test_an_answer_through_a_proxy_in_json_is_the_servers():
    body = json.dumps({"error": "wrong key"}).encode()
    with Proxy(401, body, "application/json") as proxy, pytest.MonkeyPatch.context() as patch:
        patch.setenv("http_proxy", proxy.address)
        with Server() as server:
            _, (warning,) = describe(server, url="http://gpu.example.org/v1", model="m")
    assert "the server wants an API token" in warning


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "127.0.1.1", "localhost", "LOCALHOST", socket.gethostname()]
)
def test_this_machine_is_reached_without_a_proxy(host, monkeypatch):
    with Proxy(403) as proxy, Server() as server:
        for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://{proxy.address}")
        server.answer = lambda request: GOOD
        server.httpd.server_name = host
        url = server.url if host == socket.gethostname() else server.url.replace("127.0.0.1", host)
        if host != "127.0.1.1":  # The server listens at 127.0.0.1.
            (words,), _ = describe(server, url=url)
            assert words.status == "described"
        assert routing.proxy_for(parse_address(f"http://{host}:1/v1", "")) is None
    assert proxy.seen == []


@pytest.mark.parametrize(
    ("host", "no_proxy", "direct"),
    [
        ("[::1]", "", True), ("[::ffff:127.0.0.1]", "", True), ("[fe80::1%25eth0]", "", True),
        ("127.1", "", True), ("0.0.0.0", "", True), ("169.254.7.7", "", True),
        ("robot.local", "", True), ("a.localhost", "", True), ("localhost.", "", True),
        ("host.docker.internal", "", True), ("jetson", "", True),
        ("alias.example.org", "", True),  # /etc/hosts
        ("10.1.2.3", "", False), ("192.168.1.20", "", False), ("example.org", "", False),
        ("local.example.org", "", False), ("127.0.0.1.example.org", "", False),
        ("10.1.2.3", "10.0.0.0/8", True), ("10.1.2.3", "10.2.0.0/16", False),
        ("10.1.2.3", "10.1.2.3", True), ("[fd00::1]", "fd00::/8", True),
        ("[fd00::1]", "[fd00::1]", True), ("gpu.example.org", "example.org", True),
        ("gpu.example.org", ".example.org", True), ("gpu.example.org", "*.example.org", True),
        ("gpuexample.org", "example.org", False), ("gpu.example.org", "*", True),
        ("gpu.example.org", "a, GPU.Example.org ,b", True),
        ("gpu.example.org", "gpu.example.org:81", True),
        ("gpu.example.org", "gpu.example.org:82", False),
    ],
)  # fmt: skip
def test_what_is_reached_without_a_proxy(host, no_proxy, direct, monkeypatch, tmp_path):
    (tmp_path / "hosts").write_text("127.0.1.1 robot alias.example.org # mine\n10.9.9.9 far.org\n")
    monkeypatch.setattr(routing, "HOSTS", tmp_path / "hosts")
    monkeypatch.setenv("HTTP_PROXY", "proxy.example.org:3128")
    monkeypatch.setenv("NO_PROXY", no_proxy)
    proxy = routing.proxy_for(parse_address(f"http://{host}:81/v1", ""))
    assert (proxy is None) is direct


@pytest.mark.parametrize("value", ["ftp://me:s3cret@h", "http://me:s3/cret@h:1", "socks4://h"])
def test_a_wrong_proxy_is_named_without_its_password(value, monkeypatch):
    monkeypatch.setenv("HTTP_PROXY", value)
    with pytest.raises(BackendUnavailable, match=r"\(HTTP_PROXY\) is no address of a proxy") as e:
        Chat(settings_from({"describer.url": "http://gpu.example.org/v1"}))
    assert "s3" not in str(e.value)


# -- certificates --------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """The files of a certificate for this machine, which is its own authority."""
    if not shutil.which("openssl"):
        pytest.skip("there is no openssl")
    folder = tmp_path_factory.mktemp("authority")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256",
         "-nodes", "-days", "2", "-subj", "/CN=test", "-addext",
         "subjectAltName=DNS:localhost,IP:127.0.0.1", "-keyout", folder / "key", "-out",
         folder / "ca.pem"],
        check=True, capture_output=True,
    )  # fmt: skip
    return folder


@pytest.fixture
def secure(authority):
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(authority / "ca.pem", authority / "key")
    with Server() as server:
        server.httpd.socket = context.wrap_socket(server.httpd.socket, server_side=True)
        server.url = server.url.replace("http://127.0.0.1", "https://localhost")
        yield server


@pytest.mark.parametrize(
    ("variable", "file"),
    [
        ("SSL_CERT_FILE", "ca.pem"), ("SSL_CERT_DIR", ""), ("REQUESTS_CA_BUNDLE", "ca.pem"),
        ("REQUESTS_CA_BUNDLE", ""), ("CURL_CA_BUNDLE", "ca.pem"), ("SSL_CERT_FILE", ""),
    ],
)  # fmt: skip
def test_a_certificate_of_an_own_authority_is_trusted(
    variable, file, secure, authority, monkeypatch
):
    monkeypatch.setenv(variable, str(authority / file))
    for host in ("localhost", "127.0.0.1"):
        (words,), warnings = describe(secure, url=secure.url.replace("localhost", host))
        assert (words.status, warnings) == ("described", ())


def test_an_unknown_certificate_is_refused_and_the_message_says_what_to_set(secure):
    _, (warning,) = describe(secure)
    assert "certificate" in warning.lower() and "set SSL_CERT_FILE to the file" in warning
    assert secure.requests == []


def test_an_http_address_of_an_https_server_is_named(secure):
    _, (warning,) = describe(secure, url=secure.url.replace("https", "http"))
    assert "if the server speaks https, set describer.url to https://" in warning


@pytest.mark.parametrize(("content", "message"), [(None, "there is no"), ("x", "is no readable")])
def test_wrong_files_of_certificates_are_named(content, message, tmp_path, monkeypatch):
    path = tmp_path / "ca.pem"
    if content:
        path.write_text(content)
    monkeypatch.setenv("SSL_CERT_FILE", str(path))
    with pytest.raises(BackendUnavailable, match=f"SSL_CERT_FILE: .*{message}|{message}.*ca.pem"):
        Chat(settings_from({"describer.url": "https://localhost/v1"}))
    Chat(settings_from({})).close()  # A server without TLS needs none.
