"""The cache of descriptions: each is made once, whatever happens to the file."""

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import shutil
import signal
import sqlite3
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

import deep_perception
from deep_perception.analyzer import Analyzer
from deep_perception.describers.cache import file as cache_file
from deep_perception.describers.cache import memory as cache_memory
from deep_perception.describers.cache.file import DescriptionFile
from deep_perception.describers.cache.memory import DescriptionCache, key_of
from deep_perception.describers.server import breaker, readiness
from deep_perception.regions import Description
from deep_perception.settings.options import settings_from
from support.chat_scene import (
    IMAGE,
    PHOTO,
    ask,
    chat,
    regions_of,
)
from support.chat_server import DROP, GOOD, WORDS, Reply, Server, completion

pytestmark = pytest.mark.usefixtures("quick_retries")
chat_test = pytest.mark.chat
CUP = Description(
    status="described", label="cup", text="A cup.", attributes={"color": "rot — 红", "b": "1"},
    describer="chat", model="m", prompt_id="p", latency_s=0.1 + 0.2, truncated=True,
)  # fmt: skip


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


def test_a_description_with_an_integer_latency_is_cached(tmp_path):
    words = dataclasses.replace(CUP, latency_s=0)
    file = DescriptionFile(tmp_path / "words.db", 5)
    file.put(b"k" * 32, words)
    assert file.get(b"k" * 32) == words
    file.close()


# -- one request for a region ---------------------------------------------------------------------


@chat_test
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


@chat_test
def test_identical_regions_at_once_need_one_request():
    regions = [dataclasses.replace(regions_of(1)[0], index=index) for index in range(1, 13)]
    with Server(numbered()) as server:
        found, statistics, _ = words(server, regions)
    assert len(server.requests) == 1
    assert len(found) == 12
    assert len({one.text for one in found.values()}) == 1
    assert statistics == {"regions_asked": 1, "cache_hits": 11, "cache_misses": 1}


@chat_test
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


@chat_test
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


@chat_test
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


@chat_test
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


@chat_test
def test_without_a_cache_every_region_needs_a_request(tmp_path):
    path = tmp_path / "words.sqlite"
    with Server(numbered()) as server:
        for _ in range(2):
            _, statistics, _ = words(server, regions_of(3), cache_size=0, cache_file=str(path))
    assert len(server.requests) == 6
    assert statistics == {"regions_asked": 3, "cache_hits": 0, "cache_misses": 0}
    assert not path.exists()


@chat_test
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


# -- memory -------------------------------------------------------------------------------------


def key(number):
    return key_of([str(number)], [])


def run(cache, *steps):
    """Return the results of steps, each with a key and the description that is made for it."""

    async def made(value):
        return value

    async def go():
        try:
            return [await cache.get_or_make(k, lambda v=value: made(v)) for k, value in steps]
        finally:
            await cache.close()

    return asyncio.run(go())


def cup(number):
    return dataclasses.replace(CUP, text=f"A cup, number {number}.")


def test_the_memory_keeps_the_most_recently_used_descriptions():
    cache = DescriptionCache(2, "")
    steps = [(key(1), cup(1)), (key(2), cup(2)), (key(1), cup(9)), (key(3), cup(3)),
             (key(1), cup(9)), (key(2), cup(22))]  # fmt: skip
    assert run(cache, *steps) == [cup(1), cup(2), cup(1), cup(3), cup(1), cup(22)]
    assert (cache.hits, cache.misses) == (2, 4)


def test_keys_differ_by_the_ends_of_texts_and_by_shape():
    a, b = np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
    keys = [key_of(["ab", "c"], []), key_of(["a", "bc"], []), key_of([], [a]), key_of([], [b]),
            key_of([], [a, a]), key_of([], [a + 1])]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key_of(["x"], [a]) == key_of(["x"], [np.asfortranarray(a)])


# -- the file -----------------------------------------------------------------------------------


@chat_test
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


def test_a_description_is_the_same_after_writing_and_reading(tmp_path):
    path = str(tmp_path / "w.sqlite")
    run(DescriptionCache(5, path), (key(1), CUP))
    (found,) = run(DescriptionCache(5, path), (key(1), cup(2)))
    assert found == CUP
    assert list(found.attributes) == ["color", "b"]


def test_the_file_keeps_only_the_most_recently_used_descriptions(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_memory, "FILE_TIMES", 3)
    monkeypatch.setattr(cache_file, "PRUNE_EVERY", 4)
    path = tmp_path / "w.sqlite"
    run(DescriptionCache(2, str(path)), *[(key(n), cup(n)) for n in range(5)])
    run(DescriptionCache(2, str(path)), (key(0), cup(99)))  # used again
    run(DescriptionCache(2, str(path)), *[(key(n), cup(n)) for n in range(5, 8)])
    with contextlib.closing(sqlite3.connect(path)) as file:
        kept = {row[0] for row in file.execute("SELECT key FROM words")}
    assert kept == {key(n) for n in (0, 3, 4, 5, 6, 7)}


def test_rows_that_cannot_be_parsed_are_replaced(tmp_path):
    path = tmp_path / "w.sqlite"
    rows = ["", "{", "[]", '{"status": "described"}', '{"status": "described", "label": 5}',
            '{"no": "such"}', None, b"\xff"]  # fmt: skip
    run(DescriptionCache(9, str(path)), *[(key(n), cup(n)) for n in range(len(rows))])
    with contextlib.closing(sqlite3.connect(path)) as file:
        for number, row in enumerate(rows):
            file.execute("UPDATE words SET words = ? WHERE key = ?", (row or "null", key(number)))
        file.commit()
    cache = DescriptionCache(9, str(path))
    steps = [(key(n), cup(n + 50)) for n in range(len(rows))]
    assert run(cache, *steps) == [cup(n + 50) for n in range(len(rows))]
    assert cache.warning == ""


def corrupt(path):
    run(DescriptionCache(5, str(path)), *[(key(n), cup(n)) for n in range(200)])
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    path.write_bytes(data)


def foreign(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE words (a, b)")
        file.commit()


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(random.Random(0).randbytes(20000)), "not a database"),
        (lambda path: path.mkdir(), "unable to open"),
        (corrupt, "malformed|corrupt|not a database"),
        (foreign, "database of something else"),
    ],
)
def test_a_file_that_cannot_be_used_is_one_warning_and_then_memory_only(
    make, reason, tmp_path, caplog
):
    path = tmp_path / "w.sqlite"
    make(path)
    before = path.read_bytes() if path.is_file() else b""
    cache = DescriptionCache(500, str(path))
    steps = [(key(n), cup(n)) for n in range(300)]
    assert run(cache, *steps, *steps)[300:] == [cup(n) for n in range(300)]
    assert cache.warning.startswith(f"describer.cache_file: {path} cannot be used (")
    assert any(part in cache.warning for part in reason.split("|"))
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    if make is not corrupt and before:
        assert path.read_bytes()[:100] == before[:100]  # It is not overwritten.


@pytest.mark.skipif(not hasattr(os, "seteuid"), reason="needs users")
def test_a_read_only_file_is_a_warning(caplog):
    folder = Path(tempfile.mkdtemp())  # Another user cannot enter tmp_path.
    try:
        path = folder / "w.sqlite"
        run(DescriptionCache(5, str(path)), (key(1), cup(1)))
        path.chmod(0o444)
        folder.chmod(0o555)
        user = os.geteuid()
        if user == 0:
            os.seteuid(65534)
        try:
            cache = DescriptionCache(5, str(path))
            assert run(cache, (key(2), cup(2)), (key(2), cup(9))) == [cup(2), cup(2)]
        finally:
            os.seteuid(user)
        assert "memory only" in cache.warning
        assert len(caplog.records) == 1
    finally:
        folder.chmod(0o755)
        shutil.rmtree(folder)


def test_a_file_that_is_locked_is_a_warning_and_does_not_stop_the_loop(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_file, "BUSY_S", 0.5)
    path = tmp_path / "w.sqlite"
    run(DescriptionCache(5, str(path)), (key(1), cup(1)))
    cache = DescriptionCache(5, str(path))
    ticks = []

    async def go():
        async def made():
            return cup(2)

        async def tick():
            while True:
                ticks.append(1)
                await asyncio.sleep(0.01)

        ticking = asyncio.ensure_future(tick())
        found = await cache.get_or_make(key(2), made)
        ticking.cancel()
        await cache.close()
        return found

    with contextlib.closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("PRAGMA locking_mode = EXCLUSIVE")
        other.execute("BEGIN EXCLUSIVE")
        other.execute("UPDATE words SET used = 1")
        assert asyncio.run(go()) == cup(2)
    assert "locked" in cache.warning
    assert len(ticks) >= 5  # The loop ran while SQLite waited for half a second.


WRITER = """
import asyncio, json, sys
from deep_perception.describers.cache.memory import DescriptionCache, key_of
from deep_perception.regions import Description

async def go(path, first, last):
    cache = DescriptionCache(5, path)
    fields = json.loads(sys.argv[4])
    for number in range(first, last):
        async def made():
            return Description(**{**fields, "text": f"A cup, number {number}."})
        key = key_of([str(number)], [])
        print(number, (await cache.get_or_make(key, made)).text, flush=True)
    assert cache.warning == "", cache.warning
    await cache.close()

asyncio.run(go(sys.argv[1], int(sys.argv[2]), int(sys.argv[3])))
"""


def writer(path, first, last):
    fields = json.dumps(dataclasses.asdict(CUP))
    package = str(Path(deep_perception.__file__).parents[1])
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), str(first), str(last), fields],
        stdout=subprocess.PIPE, text=True,
        env={**os.environ, "PYTHONPATH": package},
    )  # fmt: skip


def test_several_processes_share_one_file(tmp_path):
    path = tmp_path / "w.sqlite"
    # All start at once, so that they compete for the creation of the file too.
    processes = [writer(path, 20 * n, 20 * n + 60) for n in range(4)]
    said = [process.communicate(timeout=120)[0].splitlines() for process in processes]
    assert [process.returncode for process in processes] == [0] * 4
    assert [len(lines) for lines in said] == [60] * 4
    with contextlib.closing(sqlite3.connect(path)) as file:
        assert file.execute("SELECT count(*) FROM words").fetchone() == (120,)
        assert file.execute("PRAGMA integrity_check").fetchone() == ("ok",)


@pytest.mark.skipif(not hasattr(signal, "SIGKILL"), reason="needs kill -9")
def test_descriptions_that_were_returned_survive_kill_9(tmp_path):
    path = tmp_path / "w.sqlite"
    process = writer(path, 0, 10**6)
    with process:
        for line in process.stdout:
            if line.startswith("200 "):
                process.kill()
                break
        last = max([200, *(int(line.split()[0]) for line in process.stdout if line[-1] == "\n")])
    assert process.returncode == -signal.SIGKILL
    found = run(DescriptionCache(5, str(path)), *[(key(n), cup(-1)) for n in range(last + 1)])
    assert found == [cup(n) for n in range(last + 1)]


def test_the_file_is_created_when_it_is_first_needed_and_closed_at_the_end(tmp_path):
    path = tmp_path / "w.sqlite"
    cache = DescriptionCache(5, str(path))
    assert not path.exists()
    run(cache, (key(1), cup(1)))
    # The last process that closes the file removes the two other files of SQLite.
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.sqlite"]
    assert Counter(thread.name.startswith("words") for thread in threading.enumerate())[True] == 0
    assert DescriptionFile(path, 5).get(key(1)) == cup(1)
