"""What `transformers serve` was seen to answer. The real one: test/ros/test_serve_node.py."""

import numpy as np
import pytest

from deep_perception.analyzer import Analyzer
from deep_perception.settings.options import settings_from
from support.chat_server import Reply, Server, completion

pytestmark = pytest.mark.chat

PINNED = Reply("{\"detail\":\"Server is pinned to '/models/llava'; requested 'llava'.\"}", 400)
NO_CACHE = Reply("Internal Server Error", 500, kind="text/plain; charset=utf-8")
EMPTY_CACHE = Reply('{"object":"list","data":[]}')
NOT_FOUND = Reply('{"detail":"Not Found"}', 404)


def analyze(listing, answer, model):
    """A scene of a picture with two things, and the requests that it took."""
    listings = dict.fromkeys(("/api/v1/models", "/api/v0/models"), NOT_FOUND)
    image = np.full((240, 320, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    with Server(lambda _: answer, {**listings, "/v1/models": listing}) as server:
        settings = {"backend": "chat", "url": server.url, "model": model, "max_concurrency": 1}
        with Analyzer(settings_from({f"describer.{k}": v for k, v in settings.items()})) as one:
            return one.analyze(image), server.requests


@pytest.mark.parametrize("listing", [NO_CACHE, EMPTY_CACHE])
def test_a_model_that_is_served_from_a_folder_is_listed_nowhere(listing):
    answer = Reply(completion("cup red leaf", model="/models/llava@main"))
    scene, requests = analyze(listing, answer, "/models/llava")
    assert {region.description.describer for region in scene.regions} == {"chat"}
    assert {region.description.model for region in scene.regions} == {"/models/llava@main"}
    assert {request["model"] for request in requests} == {"/models/llava"}
    assert scene.warnings == ()


def test_a_server_that_is_pinned_to_another_model_cannot_be_used():
    scene, requests = analyze(EMPTY_CACHE, PINNED, "llava")
    assert {region.description.describer for region in scene.regions} == {"attributes"}
    (warning,) = scene.warnings
    assert "Server is pinned to '/models/llava'" in warning
    assert "Set describer.model to the one that it serves" in warning
    assert len(requests) == 1
