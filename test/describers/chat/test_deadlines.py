"""The timeout of a region and the deadline of a scene, with a chat server that hangs."""

import threading
from collections import Counter

import pytest

from deep_perception import analyzer as analyzer_module
from deep_perception.analyzer import Analyzer
from deep_perception.describers.server import describer as describer_module
from deep_perception.settings.options import settings_from
from support.chat_scene import (
    PATIENCE_S,
    PHOTO,
    Counted,
    MovedClock,
    describe,
    shapes,
)
from support.chat_server import (
    GOOD,
    Server,
)

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]


def test_a_region_fails_at_its_timeout():
    stop = threading.Event()
    with Server(lambda request: (stop.wait(PATIENCE_S), GOOD)[1]) as server:
        try:
            (words,), (warning,) = describe(server, region_timeout_s=0.2)
        finally:
            stop.set()
    assert words.status == "failed"
    assert "0.2 s" in words.error or "in time" in words.error
    assert server.url in warning


def test_at_the_scene_deadline_the_rest_stays_pending(monkeypatch):
    stop, clock = threading.Event(), MovedClock(monkeypatch, analyzer_module)
    settings = settings_from(
        {
            "describer.backend": "chat",
            "describer.fallback": "",
            "describer.max_concurrency": 1,
            "describer.scene_deadline_s": PATIENCE_S,
            "sweep.max_regions": 8,
        }
    )

    def answer(request):
        if len(server.requests) > 3:
            describer.wait_for(3)
            clock.forward(PATIENCE_S)
            stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer) as server:
        settings.describer.url = server.url
        with Analyzer(settings) as analyzer:
            describer = analyzer.models.describer = Counted(analyzer.models.describer)
            try:
                scene = analyzer.analyze(PHOTO)
            finally:
                stop.set()
    statuses = Counter(region.description.status for region in scene.regions)
    assert statuses == {"described": 3, "pending": 5}
    assert not scene.complete


def test_a_hanging_server_is_noticed_if_all_scenes_end_at_their_deadline(monkeypatch):
    """Each scene ends at its deadline, and cancels its requests before they time out."""
    stop, clock = threading.Event(), MovedClock(monkeypatch, analyzer_module, describer_module)

    def answer(request):
        clock.forward(0.6)
        stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer) as server:
        settings = settings_from(
            {
                "describer.backend": "chat",
                "describer.url": server.url,
                "describer.scene_deadline_s": 0.6,
                "describer.region_timeout_s": 1.0,
                "describer.max_concurrency": 1,
            }
        )
        with Analyzer(settings) as analyzer:
            for _ in range(4):
                scene = analyzer.analyze(shapes())
            stop.set()
    assert {each.description.describer for each in scene.regions} == {"attributes"}
    assert "no description within" in scene.warnings[0]
