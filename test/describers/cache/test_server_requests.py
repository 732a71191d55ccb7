"""A description that is cached needs no second request to the server."""

import dataclasses
import threading
import time

import pytest

from deep_perception.analyzer import Analyzer
from deep_perception.describers.server import breaker, readiness
from deep_perception.settings.options import settings_from
from support.chat_scene import IMAGE, PHOTO, ask, chat, regions_of
from support.chat_server import DROP, GOOD, WORDS, Reply, Server, completion

pytestmark = [pytest.mark.chat, pytest.mark.usefixtures("quick_retries")]


def numbered():
    """Return a server's function that gives a different caption to each request."""
    count, lock = [0], threading.Lock()

    def answer(request):
        with lock:
            count[0] += 1
            return Reply(completion({**WORDS, "caption": f"A red cup, number {count[0]}."}))

    return answer


def said(found):
    return {region.index: words for region, words in found}


def words(server, regions, image=IMAGE, **changes):
    describer = chat(server, **changes)
    try:
        found = said(filter(None, describer.describe(image, regions)))
        return found, describer.statistics, describer.warnings
    finally:
        describer.close()


@pytest.mark.parametrize("scene_picture", [False, True])
def test_the_second_analysis_of_an_image_sends_no_request(scene_picture):
    with Server(numbered()) as server:
        describer = chat(server, scene_picture=scene_picture)
        first = said(ask(describer, regions_of(20)))
        listed = server.listed
        assert describer.statistics == {
            "regions_asked": 20, "cache_hits": 0, "cache_misses": 20,
        }  # fmt: skip
        second = said(ask(describer, regions_of(20)))
        assert describer.statistics == {
            "regions_asked": 20, "cache_hits": 20, "cache_misses": 20,
        }  # fmt: skip
        describer.close()
    assert second == first  # latency and all
    assert len(server.requests) == 20
    assert server.listed == listed


def test_identical_regions_at_once_need_one_request():
    regions = [dataclasses.replace(regions_of(1)[0], index=index) for index in range(1, 13)]
    with Server(numbered()) as server:
        found, statistics, _ = words(server, regions)
    assert len(server.requests) == 1
    assert len(found) == 12
    assert len({one.text for one in found.values()}) == 1
    assert statistics == {"regions_asked": 1, "cache_hits": 11, "cache_misses": 1}


def test_a_waiting_region_sends_its_own_request_if_the_first_one_is_cancelled():
    region = regions_of(1)[0]
    stop, seen = threading.Event(), []

    def answer(request):
        seen.append(1)
        if len(seen) == 1:
            stop.wait(20)
        return GOOD

    with Server(answer) as server:
        describer = chat(server)
        given_up = describer.describe(IMAGE, [region])
        while not seen:
            next(given_up)
        other = []
        waits = threading.Thread(target=lambda: other.extend(ask(describer, [region])))
        waits.start()
        given_up.close()
        waits.join(30)
        stop.set()
        describer.close()
    ((_, one),) = other
    assert one.status == "described"


def test_failures_and_descriptions_of_the_fallback_are_not_cached(monkeypatch):
    monkeypatch.setattr(breaker, "COOL_DOWN_S", 0.2)
    with Server(lambda request: Reply(completion(""))) as server:
        describer = chat(server, fallback="attributes")
        regions = regions_of(3)
        assert {w.status for w in said(ask(describer, regions)).values()} == {"failed"}
        server.answer = lambda request: DROP
        assert {w.describer for w in said(ask(describer, regions)).values()} == {"attributes"}
        server.answer = lambda request: GOOD
        found = said(ask(describer, regions))
        deadline = time.monotonic() + 60
        while found[1].describer != "chat" and time.monotonic() < deadline:
            found = said(ask(describer, regions))
        assert {(w.status, w.describer) for w in found.values()} == {("described", "chat")}
        describer.close()


def test_a_cached_description_needs_no_server_and_does_not_prove_that_it_works(monkeypatch):
    monkeypatch.setattr(breaker, "COOL_DOWN_S", 0.2)
    monkeypatch.setattr(readiness, "RECHECK_S", 0.05)
    regions = regions_of(8)
    with Server(numbered()) as server:
        describer = chat(server, fallback="attributes")
        first = said(ask(describer, regions[:6]))
        port = server.port
    # The server is away, which the two new regions notice; the others are in the cache.
    second = said(ask(describer, regions))
    assert {index: second[index] for index in first} == first
    assert {second[7].describer, second[8].describer} == {"attributes"}
    (warning,) = describer.warnings
    assert "for 2 of 8 regions" in warning
    assert said(ask(describer, regions[:6])) == first
    assert describer.warnings == (warning,)
    with Server(numbered(), port=port):
        deadline = time.monotonic() + 60
        while not describer.available and time.monotonic() < deadline:
            time.sleep(0.05)
        # The region that is sent first is in the cache, so the next one probes the server.
        third = said(ask(describer, regions))
        assert {w.describer for w in third.values()} == {"chat"}
        assert describer.warnings == ()
        describer.close()


@pytest.mark.parametrize(
    "changes",
    [
        {"temperature": 0.7},
        {"max_tokens": 300},
        {"picture_mode": "blur"},
        {"scene_picture": True},
        {"model": "qwen-vl:2"},
        {"prompt": "mine.txt"},
    ],
)
def test_all_that_influences_a_description_is_part_of_the_key(changes, tmp_path):
    if "prompt" in changes:
        (tmp_path / "mine.txt").write_text("Name the thing.")
        changes = {"prompt": str(tmp_path / "mine.txt")}
    file = {"cache_file": str(tmp_path / "words.sqlite")}
    listings = {"/v1/models": Reply({"data": [{"id": "qwen-vl"}, {"id": "qwen-vl:2"}]})}
    with Server(numbered(), listings) as server:
        usual = {"model": "qwen-vl", **file}
        words(server, regions_of(2), **usual)
        words(server, regions_of(2), **usual)
        assert len(server.requests) == 2
        words(server, regions_of(2), **{**usual, **changes})
        assert len(server.requests) == 4
        # One pixel of the region and the mask are part of the key too.
        other = IMAGE.copy()
        region = regions_of(1)[0]
        other[region.box.y1, region.box.x1] ^= 255
        words(server, [region], other, **usual)
        mask = region.mask.copy()
        mask[region.box.y2 - 1] = False
        smaller = type(region).from_mask(
            index=1, point=region.point, mask=mask, score=1.0, source=region.rle.size
        )
        words(server, [smaller], **usual)
        assert len(server.requests) == 6


def test_without_a_cache_every_region_needs_a_request(tmp_path):
    path = tmp_path / "words.sqlite"
    with Server(numbered()) as server:
        for _ in range(2):
            _, statistics, _ = words(server, regions_of(3), cache_size=0, cache_file=str(path))
    assert len(server.requests) == 6
    assert statistics == {"regions_asked": 3, "cache_hits": 0, "cache_misses": 0}
    assert not path.exists()


def test_the_analyzer_reports_the_counts():
    with Server() as server:
        settings = {"describer.backend": "chat", "describer.url": server.url}
        with Analyzer(settings_from(settings)) as analyzer:
            count = len(analyzer.analyze(PHOTO).regions)
            analyzer.analyze(PHOTO)
            assert analyzer.models.statistics["regions_asked"] == count
            assert analyzer.models.statistics["cache_hits"] == count
    with Analyzer() as analyzer:
        assert analyzer.models.statistics == {}


def test_the_next_process_gets_equal_descriptions_from_the_file(tmp_path):
    path = tmp_path / "deep" / "words.sqlite"
    with Server(numbered()) as server:
        first, _, _ = words(server, regions_of(12), cache_file=str(path))
        second, statistics, warnings = words(server, regions_of(12), cache_file=str(path))
    assert second == first
    assert repr(sorted(second.items())) == repr(sorted(first.items()))
    assert statistics == {"regions_asked": 0, "cache_hits": 12, "cache_misses": 0}
    assert warnings == ()
    assert len(server.requests) == 12
