"""The errors of the DAM server for wrong requests."""

import base64
import struct
import zlib

import pytest

from support.dam_server_process import TOKEN, data_url, request, rgba

pytestmark = pytest.mark.dam


def refused(server, body, status, code, *words):
    found, answer, _ = server.complete(body)
    assert (found, answer["error"]["code"]) == (status, code), answer
    assert answer["error"]["type"] == "invalid_request_error"
    for word in words:
        assert word in answer["error"]["message"]


def png_of(width, height):
    """Return a PNG with the header of an image of this size and hardly any data."""
    head = struct.pack(">IIBBBBB", width, height, 8, 6, 0, 0, 0)
    chunks = [(b"IHDR", head), (b"IDAT", zlib.compress(b"")), (b"IEND", b"")]
    data = b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        for kind, body in chunks
    )
    return "data:image/png;base64," + base64.b64encode(data).decode()


def test_the_error_for_a_wrong_image_names_the_problem(server):
    good = rgba()
    whole = data_url(good)
    prefix, _, data = whole.partition(",")
    cut = f"{prefix},{data[: len(data) // 8 * 4]}"
    empty = good.copy()
    empty.putalpha(0)
    for url, code, word in (
        ("http://127.0.0.1:1/a.png", "picture_not_inline", "fetches nothing"),
        ("file:///etc/passwd", "picture_not_inline", "data URL"),
        (data_url(good.convert("RGB"), "JPEG", "image/jpeg"), "picture_not_png", "image/jpeg"),
        (data_url(good.convert("RGB"), "JPEG"), "picture_undecodable", "PNG"),
        (data_url(good.convert("RGB")), "picture_without_alpha", "RGB"),
        (data_url(empty), "mask_empty", "alpha is 0"),
        ("data:image/png;base64,@@@@", "picture_not_base64", "base64"),
        ("data:image/png;base64,AAAA", "picture_undecodable", "PNG"),
        (cut, "picture_undecodable", "PNG"),
        (png_of(8000, 8000), "picture_too_large", "8000x8000"),
        (png_of(60000, 60000), "picture_too_large", "at most"),
    ):
        refused(server, request(url), 400, code, word)
    assert server.describe(whole)


def test_the_error_for_a_wrong_request_names_the_problem(server):
    url = data_url(rgba())
    picture = {"type": "image_url", "image_url": {"url": url}}
    text = {"type": "text", "text": "x"}
    refused(server, b"{", 400, "bad_json")
    refused(server, b"\xff\xfe\x00", 400, "bad_json")
    refused(server, b"[" * 100_000, 400, "bad_json")
    refused(server, [], 400, "bad_json", "a list")
    refused(server, {}, 400, "bad_messages")
    refused(server, request(None), 400, "picture_missing", "no image")
    refused(server, {"messages": [{"role": "user", "content": "hi"}]}, 400, "picture_missing")
    for messages, code, word in (
        ("hi", "bad_value", "messages is a text"),
        (["hi"], "bad_messages", "messages[0] is a text"),
        ([{"role": "assistant", "content": "hi"}], "bad_messages", "assistant"),
        ([{"role": "system", "content": [picture]}], "bad_messages", "system message"),
        ([{"role": "user", "content": 3}], "bad_messages", "a number"),
        ([{"role": "user", "content": [{"type": "audio"}]}], "bad_messages", "content[0]"),
        ([{"role": "user", "content": ["x"]}], "bad_messages", "content[0]"),
        ([{"role": "user", "content": [{**picture, "image_url": url}]}], "bad_messages", "url"),
        ([{"role": "user", "content": [text, picture]}] * 2, "bad_messages", "2 user messages"),
        ([{"role": "user", "content": [text, picture, picture]}], "pictures_too_many", "2"),
        ([{"role": "user", "content": [picture]}], "bad_text", "no text"),
    ):
        refused(server, {"messages": messages}, 400, code, word)
    refused(server, request(url, text="a <image> b"), 400, "bad_text", "<image>")
    refused(server, request(url, text="x" * 5000), 400, "bad_text", "5000")
    refused(server, request(url, stream=True), 400, "stream_unsupported", "stream")
    refused(server, request(url, stream="no"), 400, "bad_value", "stream is a text")


@pytest.mark.parametrize(
    ("name", "values"),
    [
        ("temperature", [-0.1, 2.1, "1", True, [], float("nan"), float("inf")]),
        ("top_p", [0, -1, 1.1, "x", False]),
        ("num_beams", [0, 17, 1.5, "2", True]),
        ("max_tokens", [0, 1025, 2.0, "9", 10**30]),
        ("max_completion_tokens", [0, 1025]),
        ("seed", ["x", 1.5, 2**64]),
        ("n", [2, 0, "1"]),
    ],
)
def test_the_error_for_a_wrong_parameter_names_it(server, name, values):
    url = data_url(rgba())
    for value in values:
        refused(server, request(url, **{name: value}), 400, "bad_value", name)
    assert server.describe(url, **{name: None})


def test_a_request_that_is_too_large_is_refused(server):
    refused(server, b" " * (65 * 2**20), 413, "request_too_large", "larger than")
    assert server.health()["status"] == "ready"


def test_other_paths_and_methods_are_refused(server):
    for method, path in (("GET", "/"), ("GET", "/v1/chat/completions"), ("POST", "/health")):
        status, answer, _ = server.call(method, path)
        assert status == 404
        assert "/v1/chat/completions" in answer["error"]["message"]


def test_the_token_is_required_and_never_logged(server):
    body = request(data_url(rgba()))
    for token in ("", "wrong", TOKEN + "x", "\u00e4"):
        for path in ("/v1/chat/completions", "/chat/completions"):
            status, answer, _ = server.complete(body, path=path, token=token)
            assert (status, answer["error"]["code"]) == (401, "wrong_token")
        assert server.call("GET", "/v1/models", token=token)[0] == 401
    assert server.complete(body)[0] == 200
    assert TOKEN not in server.log.read_text()
    assert "Describe it." not in server.log.read_text()
