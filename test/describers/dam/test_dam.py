"""The `dam` describer against NVIDIA's contract, on a scripted server. See test_dam_node.py too."""

import base64

import cv2
import numpy as np
import pytest

from deep_perception import masks
from deep_perception.analyzer import Analyzer
from deep_perception.describers.dam import Dam, compose
from deep_perception.masks import Box
from deep_perception.points import Point
from deep_perception.regions import Region
from deep_perception.settings.options import settings_from
from support.chat_scene import IMAGE, ask, regions_of
from support.chat_server import NO_ENDPOINT, Reply, Server, completion

pytestmark = pytest.mark.chat

# NVIDIA's server: no /v1, no list of models, no finish_reason, no usage.
WORDS = "A red ceramic cup with a white rim and a curved handle."
NVIDIA = Reply(
    {
        "id": "x",
        "object": "chat.completion",
        "model": "describe_anything_model",
        "choices": [{"message": {"role": "assistant", "content": WORDS}}],
    }
)


def dam(server, **changes):
    changes = {"fallback": "", "cache_size": 0, "dam.manage_server": False, **changes}
    changes.setdefault("dam.url", server.url)
    return Dam(settings_from({f"describer.{name}": value for name, value in changes.items()}))


def described(answer, count=1, listings=None, **changes):
    with Server(answer, listings or {"/health": NO_ENDPOINT}) as server:
        describer = dam(server, **changes)
        try:
            words = [words for _, words in ask(describer, regions_of(count, IMAGE))]
        finally:
            describer.close()
    return words, server


def pixels(request):
    """The picture of a request, HxWx4 in the order blue, green, red, alpha."""
    (image,) = [p for p in request["messages"][0]["content"] if p["type"] == "image_url"]
    head, data = image["image_url"]["url"].split(",")
    assert head == "data:image/png;base64"
    return cv2.imdecode(np.frombuffer(base64.b64decode(data), np.uint8), cv2.IMREAD_UNCHANGED)


def test_a_request_to_nvidias_server_and_its_answer():
    (words,), server = described(lambda request: NVIDIA)
    assert (words.status, words.text) == ("described", WORDS)
    assert words.label == "red ceramic cup"
    assert (words.describer, words.model) == ("dam", "describe_anything_model")
    (request,) = server.requests
    picture = pixels(request)
    (region,) = regions_of(1, IMAGE)
    assert np.array_equal(picture[..., 3] > 0, region.mask)
    # The colours stay outside of the mask too.
    assert np.array_equal(picture[..., :3], IMAGE)
    assert request["model"] == "describe_anything_model"
    text = [p["text"] for p in request["messages"][0]["content"] if p["type"] == "text"]
    assert text == ["Describe the object or region highlighted by the mask in detail."]
    sampling = {key: request[key] for key in ("temperature", "top_p", "num_beams", "max_tokens")}
    assert sampling == {"temperature": 0.2, "top_p": 0.5, "num_beams": 1, "max_tokens": 128}
    assert "response_format" not in request


def test_the_concurrency_is_the_batch_size_of_the_server():
    import threading

    together = threading.Barrier(6, timeout=20)

    def answer(request):
        together.wait()
        return NVIDIA

    words, server = described(answer, 12, **{"dam.max_batch": 6})
    assert {one.status for one in words} == {"described"}
    assert server.most == 6


@pytest.mark.parametrize("bad", ["", "I'm sorry, I cannot help.", "red red red red red red red"])
def test_after_a_bad_answer_the_surroundings_of_the_region_are_sent(bad):
    replies = iter([Reply(completion(bad)), NVIDIA])
    (words,), server = described(lambda request: next(replies))
    assert words.text == WORDS
    first, second = map(pixels, server.requests)
    assert first.shape == (240, 320, 4)
    assert second.shape[0] < 240
    assert (first[..., 3] > 0).sum() == (second[..., 3] > 0).sum()
    (words,), _ = described(lambda request: Reply(completion(bad)))
    assert words.status == "failed"
    assert words.error
    assert words.text == ""


def test_an_error_of_nvidias_server_is_the_regions_own_reason():
    (words,), server = described(lambda request: Reply({"error": "empty mask"}, 500))
    assert (words.status, words.error) == ("failed", "status 500: empty mask")
    assert len(server.requests) == 1


def test_a_request_to_a_full_queue_is_retried():
    busy = Reply({"error": {"message": "queue is full"}}, 429, {"Retry-After": "0"})
    replies = iter([busy, busy, NVIDIA])
    (words,), server = described(lambda request: next(replies))
    assert words.status == "described"
    assert len(server.requests) == 3


def test_the_fallback_describes_while_the_server_loads_its_model(monkeypatch):
    from deep_perception.describers import dam as module

    monkeypatch.setattr(module, "LOADING_CHECK_S", 0.05)
    health = {"/health": Reply({"status": "loading", "error": "", "message": "loading"}, 503)}
    words, server = described(lambda request: NVIDIA, 3, health, fallback="attributes")
    assert {one.describer for one in words} == {"attributes"}
    assert server.requests == []


def test_the_size_of_an_image_is_limited_and_a_tiny_region_is_kept():
    image = np.zeros((2160, 3840, 3), np.uint8)
    mask = np.zeros((480, 853), np.bool_)
    mask[100, 200] = True
    region = Region.from_mask(
        index=1, point=Point(200, 100, "grid"), mask=mask, score=1.0, source=masks.size_of(image)
    )
    picture = compose(image, region, Box(0, 0, 3840, 2160))
    assert picture.shape == (864, 1536, 4)
    assert (picture[..., 3] > 0).any()


def test_a_missing_environment_is_a_warning_with_the_command(tmp_path):
    settings = settings_from(
        {
            "describer.backend": "dam",
            "describer.dam.environment": str(tmp_path / "none"),
            "describer.dam.url": "http://127.0.0.1:9/v1",
        }
    )
    said = []
    with Analyzer(settings) as analyzer:
        analyzer.models.get_ready(said.append)
        scene = analyzer.analyze(IMAGE)
    assert {each.description.describer for each in scene.regions} == {"attributes"}
    assert "deep_perception models setup-dam" in scene.warnings[0]


def test_descriptions_are_cached():
    with Server(lambda request: NVIDIA, {"/health": NO_ENDPOINT}) as server:
        describer = dam(server, cache_size=10)
        for _ in range(2):
            (found,) = ask(describer, regions_of(1, IMAGE))
            assert found[1].text == WORDS
        describer.close()
    assert len(server.requests) == 1
    assert describer.statistics["cache_hits"] == 1
