"""Which model a chat server is asked for, and the errors of wrong settings."""

import logging

import pytest

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.chat import Chat
from deep_perception.settings.options import settings_from
from support.chat_scene import (
    describe,
)
from support.chat_server import (
    GOOD,
    Reply,
    Server,
    lm_studio,
)

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]
V1, V0, ANY = "/api/v1/models", "/api/v0/models", "/v1/models"
# Entries of lists of models, of several servers.
WRITES_TEXT = [
    {"id": "/home/embedded/models/qwen2.5-vl-7b.gguf"}, {"id": "C:\\embeddings\\qwen-vl.gguf"},
    {"id": "embedded-vlm"}, {"id": "/models/rerankers/whisper/llava.gguf"},
    {"id": "e5-chat", "type": "chat"}, {"id": "a", "type": "vlm"}, {"id": "b", "task": "chat"},
    {"id": "bge-vl", "capabilities": ["completion", "embedding"]},
    {"id": "c", "architecture": {"modality": "text+image->text",
                                 "input_modalities": ["text", "image"],
                                 "output_modalities": ["text"]}},
    {"id": "d", "model_type": "LLM", "model_ability": ["chat", "vision"]},
    {"id": "e", "capabilities": {"vision": True, "completion_chat": True}},
    {"id": "f", "capabilities": {"input_modalities": ["text", "image"]}},
    {"id": "g", "pipeline_tag": "image-text-to-text"}, {"id": "remarkable-tts2x"},
]  # fmt: skip
WRITES_NO_TEXT = [
    {"id": "nomic-embed-text-v1.5"}, {"id": "BAAI/bge-reranker-v2-m3"}, {"id": "whisper-1"},
    {"id": "/m/Qwen3-Embedding-0.6B-Q8_0.gguf"}, {"id": "text-embedding-3-small"},
    {"id": "models--nomic-ai--nomic-embed-text/snapshots/1"},
    {"id": "/hub/models--nomic-ai--nomic-embed-text-v1.5/snapshots/e5cf08a"},
    {"id": "embeddinggemma-300m"}, {"id": "tts-1"}, {"id": "a", "type": "embedding"},
    {"id": "b", "type": "embeddings"}, {"id": "c", "model_type": "rerank"},
    {"id": "d", "task": "feature-extraction"}, {"id": "e", "capabilities": ["embed"]},
    {"id": "f", "kind": "EMBEDDING_MODEL"}, {"id": "g", "labels": ["reranking"]},
    {"id": "h", "mode": "audio_transcription"}, {"id": "i", "type": "image"},
    {"id": "j", "capabilities": {"embeddings": True, "completion_chat": False}},
    {"id": "k", "architecture": {"modality": "text->image"}},
]  # fmt: skip
VLM = {"id": "old-vl", "type": "vlm", "state": "loaded"}


@pytest.mark.parametrize(
    ("path", "body", "wanted", "asked"),
    [
        (V1, {"models": [lm_studio("t", vision=False), lm_studio("v")]}, "", "v"),
        (V1, {"models": [lm_studio("v"), lm_studio("w")]}, "w", "w"),
        (V0, {"data": [{**VLM, "id": "x", "state": "not-loaded"}, VLM]}, "", "old-vl"),
        (ANY, {"data": [{"id": "only"}, {"id": "nomic-embed"}]}, "", "only"),
        (ANY, {"data": [{"id": "a"}, {"id": "b"}]}, "b", "b"),
        *((ANY, {"data": [{"id": "embed-x"}, entry]}, "", entry["id"]) for entry in WRITES_TEXT),
        *((ANY, {"data": [{"id": "only"}, entry]}, "", "only") for entry in WRITES_NO_TEXT),
        (ANY, {"data": [{"id": "a"}, {"id": "b", "capabilities": ["vision"]}]}, "", "b"),
        (ANY, {"data": [{"id": "nomic-embed"}]}, "nomic-embed", "nomic-embed"),
        (ANY, {"data": [{"id": "/m/a.gguf"}, {"id": "/m/b.gguf"}]}, "b", "/m/b.gguf"),
        (ANY, {"data": [{"id": "llava:latest"}, {"id": "x"}]}, "llava", "llava:latest"),
        (ANY, {"models": ["only"]}, "", "only"),
        (ANY, [{"id": "only"}], "", "only"),
        (ANY, {"data": [{"name": "only"}]}, "", "only"),
        (ANY, {"data": [{"id": 5}, {"id": "\ud800"}, {"id": "only"}, 7]}, "", "only"),
        (V1, {"models": [{"key": "x", "loaded_instances": 5}, lm_studio("v")]}, "", "v"),
        (V1, {"models": [{**lm_studio("r"), "type": "reranker"}, lm_studio("v")]}, "", "v"),
        ("/none", {}, "named", "named"),
    ],
)
def test_the_model_that_is_chosen(path, body, wanted, asked):
    with Server(listings={path: Reply(body)}) as server:
        (words,), warnings = describe(server, model=wanted)
    assert words.status == "described"
    assert warnings == ()
    assert server.requests[0]["model"] == asked


@pytest.mark.parametrize(
    ("path", "body", "wanted", "advice"),
    [
        (V1, {"models": []}, "", "no model is loaded; download a vision model in LM Studio"),
        (V1, {"models": [lm_studio("v", loaded=False)]}, "", "run: lms load v"),
        (V1, {"models": [lm_studio("v", loaded=False)]}, "v", "model 'v' is not loaded: load it"),
        (V1, {"models": [lm_studio("t", vision=False)]}, "", "'t' takes text only; download"),
        (V1, {"models": [lm_studio("t", vision=False), lm_studio("v")]}, "t", "model to 'v'"),
        (V1, {"models": [lm_studio("qwen-vl")]}, "qwen_vl", "did you mean 'qwen-vl'?"),
        (V0, {"data": [{**VLM, "state": "not-loaded"}]}, "", "lms load old-vl"),
        (V0, {"data": [{**VLM, "type": "llm"}]}, "", "takes text only"),
        (ANY, {"data": [{"id": "a"}, {"id": "b"}]}, "", "the server has a, b"),
        (ANY, {"data": []}, "", "the server lists no model"),
        ("/none", {}, "", "does not list its models: set describer.model"),
    ],
)
def test_the_warning_about_an_unusable_model_says_what_to_do(path, body, wanted, advice):
    with Server(listings={path: Reply(body)}) as server:
        words, (warning,) = describe(server, 3, model=wanted)
    assert advice in warning
    assert all(one.status == "failed" and advice in one.error for one in words)
    assert server.requests == []


def test_the_token_is_sent_and_never_logged(monkeypatch, caplog):
    caplog.set_level(logging.DEBUG)
    monkeypatch.setenv("MY_TOKEN", "s3cret-token")
    monkeypatch.setenv("OPENAI_API_KEY", "another")
    reply = Reply({"error": {"message": "Incorrect key s3cret-token"}}, 400)
    with Server(lambda request: reply) as server:
        (words,), _ = describe(server, api_key_env="MY_TOKEN")
    assert server.headers[0]["authorization"] == "Bearer s3cret-token"
    assert words.error == "status 400: Incorrect key ***"
    ours = [record for record in caplog.records if record.name.startswith("deep_perception")]
    assert "s3cret" not in " ".join(record.getMessage() for record in ours)


@pytest.mark.parametrize(
    "reply",
    [
        Reply({"error": "Unexpected endpoint or method. (POST /chat/completions)"}),
        Reply({"detail": "Not Found"}, 404),
        Reply("404 page not found", 404, kind="text/plain"),
        Reply("<html><title>Error response</title></html>", 501, kind="text/html"),
        Reply({"detail": "Method Not Allowed"}, 405),
    ],
)
def test_the_warning_about_an_address_without_a_chat_server_names_what_was_tried(reply):
    with Server(lambda request: reply, {"/none": GOOD}) as server:
        url = server.url.removesuffix("/v1")
        words, (warning,) = describe(server, 3, url=url, fallback="attributes", model="m")
    assert {one.describer for one in words} == {"attributes"}
    assert f"there is no chat server at {url}/v1/chat/completions and {url}/chat/" in warning
    assert "set describer.url to its address, which mostly ends with /v1" in warning


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("url", "localhost:1234", "is no http address"),
        ("prompt", "nosuch", "set one of .*region"),
        ("prompt", "/no/such.txt", "cannot be read"),
    ],
)
def test_wrong_settings_are_reported_at_the_start(name, value, message):
    with pytest.raises(BackendUnavailable, match=message):
        Chat(settings_from({f"describer.{name}": value}))
