"""Requests at once, their order, and how they are cancelled."""

import threading
import time

import pytest

from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.description.run import PendingRegions
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings.options import settings_from
from support.chat_scene import (
    IMAGE,
    PATIENCE_S,
    PHOTO,
    Counted,
    ask,
    chat,
    describe,
    regions_of,
)
from support.chat_server import (
    GOOD,
    Reply,
    Server,
    lm_studio,
    picture,
)

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]
V1 = "/api/v1/models"


@pytest.mark.parametrize(("said", "setting", "most"), [(None, 0, 4), (2, 0, 2), (2, 8, 8)])
def test_the_concurrency_is_that_of_the_server_or_of_the_setting(said, setting, most):
    listings = {V1: Reply({"models": [lm_studio(parallel=said)]})}
    all_here = threading.Barrier(most)

    def answer(request):
        # A group is answered when all its requests have arrived.
        all_here.wait(PATIENCE_S)
        return GOOD

    with Server(answer, listings) as server:
        words, _ = describe(server, 24, max_concurrency=setting)
    assert len(words) == 24
    assert {one.status for one in words} == {"described"}
    assert server.most == most
    assert len(server.requests) == 24
    assert len({picture(request) for request in server.requests}) == 24


def test_regions_arrive_as_they_are_ready_and_the_largest_is_first():
    go = threading.Event()
    first = []

    def answer(request):
        if len(first) >= 1:
            go.wait(PATIENCE_S)
        first.append(1)
        return GOOD

    regions = regions_of(6)
    waiting = PendingRegions()
    for region in regions:
        waiting.add(region)
    waiting.end()
    with Server(answer) as server:
        describer = chat(server, max_concurrency=1)
        words = filter(None, describer.describe(IMAGE, waiting))
        region, _ = next(words)
        assert region.area == max(region.area for region in regions)
        go.set()
        assert len(list(words)) == 5
        describer.close()


def test_the_first_region_is_described_before_the_sweep_ends():
    order = []

    class Slow(Superpixels):
        def masks(self, embedding, points):
            if order:
                describer.wait_for(1)
            order.append("swept")
            return super().masks(embedding, points)

    settings = settings_from({"describer.backend": "chat", "describer.fallback": ""})
    with Server() as server:
        settings.describer.url = server.url
        with Analyzer(settings) as analyzer:
            analyzer.models.segmenter = Slow()
            describer = analyzer.models.describer = Counted(analyzer.models.describer)
            analyzer.analyze(
                PHOTO, callbacks=Callbacks(on_region=lambda region: order.append("described"))
            )
    assert order.index("described") < len(order) - 1 - order[::-1].index("swept")


def test_closing_the_iterator_cancels_the_requests():
    stop, seen = threading.Event(), []

    def answer(request):
        seen.append(1)
        if len(seen) > 2:
            stop.wait(PATIENCE_S)
        return GOOD

    with Server(answer) as server:
        describer = chat(server, max_concurrency=2)
        words = describer.describe(IMAGE, regions_of(24))
        while next(words) is None:
            pass
        started = time.monotonic()
        words.close()
        assert time.monotonic() - started < 5
        asked = len(seen)
        stop.set()
        # The same describer can be used again.
        assert len(ask(describer, regions_of(3))) == 3
        assert len(seen) <= asked + 4
        describer.close()
        describer.close()
        with pytest.raises(RuntimeError, match="closed"):
            next(describer.describe(IMAGE, regions_of(1)))


def test_close_ends_a_waiting_iterator():
    stop = threading.Event()
    with Server(lambda request: (stop.wait(PATIENCE_S), GOOD)[1]) as server:
        describer = chat(server)
        done = []
        reader = threading.Thread(target=lambda: done.append(ask(describer, regions_of(8))))
        reader.start()
        while not server.requests:
            time.sleep(0.01)
        describer.close()
        reader.join(PATIENCE_S)
        stop.set()
    assert done == [[]]


@pytest.mark.parametrize("silent", ["chat", "listing"])
def test_an_analysis_is_cancelled_while_a_silent_server_is_asked(silent):
    stop, here, cancelled = threading.Event(), threading.Event(), threading.Event()

    def wait(*_):
        here.set()
        stop.wait(30)
        return GOOD

    listings = {V1: wait} if silent == "listing" else None
    with Server(wait, listings) as server:
        settings = settings_from({"describer.backend": "chat", "describer.url": server.url})
        outcome = []

        def analyze():
            with Analyzer(settings) as analyzer:
                try:
                    analyzer.analyze(PHOTO, callbacks=Callbacks(is_cancelled=cancelled.is_set))
                except Cancelled:
                    outcome.append("cancelled")

        worker = threading.Thread(target=analyze)
        worker.start()
        try:
            assert here.wait(30)
            cancelled.set()
            worker.join(20)  # The server is silent for 30 s, and the timeout of a region is 60 s.
            assert not worker.is_alive()
        finally:
            stop.set()
            worker.join()
    assert outcome == ["cancelled"]
