"""The file of the cache: what it keeps, and the warnings if it cannot be used."""

import asyncio
import contextlib
import dataclasses
import json
import os
import random
import shutil
import sqlite3
import struct
import tempfile
import threading
from collections import Counter
from pathlib import Path

import pytest

from deep_perception.describers.cache import file as cache_file
from deep_perception.describers.cache import memory as cache_memory
from deep_perception.describers.cache.file import DescriptionFile, SharedDescriptionFile
from deep_perception.describers.cache.memory import DescriptionCache
from deep_perception.describers.cache.rows import ANSWER, ANY
from support.cached_descriptions import CUP, cup, key, run

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_a_description_with_an_integer_latency_is_cached(tmp_path):
    words = dataclasses.replace(CUP, latency_s=0)
    file = DescriptionFile(tmp_path / "words.db", 5)
    file.put(b"k" * 32, words)
    assert file.get(b"k" * 32) == words
    file.close()


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


def test_the_file_is_created_when_it_is_first_needed_and_closed_at_the_end(tmp_path):
    path = tmp_path / "w.sqlite"
    cache = DescriptionCache(5, str(path))
    assert not path.exists()
    run(cache, (key(1), cup(1)))
    # The last process that closes the file removes the two other files of SQLite.
    assert [entry.name for entry in tmp_path.iterdir()] == ["w.sqlite"]
    assert Counter(thread.name.startswith("words") for thread in threading.enumerate())[True] == 0
    assert DescriptionFile(path, 5).get(key(1)) == cup(1)


# -- files that cannot be used ---------------------------------------------------------------------


def changed_rows():
    """Rows with what no describer writes: statuses, control characters, long texts, numbers."""
    good = dataclasses.asdict(CUP)
    for changes in (
        {"status": "failed", "error": "x"}, {"status": "pending", "text": "", "label": ""},
        {"status": "reused"}, {"status": "owned"}, {"error": "x"}, {"latency_s": float("inf")},
        {"latency_s": float("nan")}, {"latency_s": -1.0}, {"truncated": 1}, {"extra": "x"},
        {"label": "cup\x1b[2J"}, {"text": "A cup.\nINFO all is well"}, {"text": "\u202eA cup."},
        {"text": "a\x9b1m"}, {"label": "x" * 61}, {"text": "x" * 601}, {"model": "m" * 300},
        {"model": "m\x07"}, {"describer": "\ud800x\n"}, {"prompt_id": "p\u2028"},
        {"attributes": {"color": "x" * 121}}, {"attributes": {"a\x1b": "b"}},
        {"attributes": {"a": 5}}, {"attributes": {str(n): "x" for n in range(33)}},
        {"attributes": []}, {"text": ["A cup."]},
    ):  # fmt: skip
        yield {**good, **changes}


def test_rows_that_cannot_be_parsed_are_replaced(tmp_path):
    path = tmp_path / "w.sqlite"
    rows = ["", "{", "[]", '{"status": "described"}', '{"status": "described", "label": 5}',
            '{"no": "such"}', None, b"\xff", 5, sqlite3.Binary(b"{}"), "\udcff", "[" * 50_000,
            '{"label":' * 50_000, "x" * 900_000, *map(json.dumps, changed_rows())]  # fmt: skip
    run(DescriptionCache(99, str(path)), *[(key(n), cup(n)) for n in range(len(rows))])
    with contextlib.closing(sqlite3.connect(path)) as file:
        for number, row in enumerate(rows):
            if row == "\udcff":  # a text that is no UTF-8
                file.execute(
                    "UPDATE words SET words = CAST(x'ff' AS TEXT) WHERE key = ?", [key(number)]
                )
                continue
            file.execute("UPDATE words SET words = ? WHERE key = ?", (row or "null", key(number)))
        file.commit()
    cache = DescriptionCache(99, str(path))
    steps = [(key(n), cup(n + 50)) for n in range(len(rows))]
    assert run(cache, *steps) == [cup(n + 50) for n in range(len(rows))]
    assert cache.warning == ""


def changed(path, *statements):
    run(DescriptionCache(5, str(path)), (key(1), cup(1)))
    with contextlib.closing(sqlite3.connect(path)) as file:
        for statement in statements:
            file.execute(statement)
        file.commit()


ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT"
TRIGGER = "CREATE TRIGGER t AFTER INSERT ON words BEGIN UPDATE words SET words = 'mine'; END"
VIEW = f"CREATE VIEW words AS {ENDLESS} x'00' AS key, '{{}}' AS words, 1.0 AS used FROM n"
COMPUTED = "ALTER TABLE words ADD COLUMN more AS (hex(zeroblob(1000000)))"


def corrupt(path):
    run(DescriptionCache(5, str(path)), *[(key(n), cup(n)) for n in range(200)])
    data = bytearray(path.read_bytes())
    data[4096:] = random.Random(1).randbytes(len(data) - 4096)
    path.write_bytes(data)


def foreign(path):
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("CREATE TABLE words (a, b)")
        file.commit()


def journal_of_several(path):
    """SQLite finishes such a journal by deleting the file that it names, here ``path``.txt."""
    DescriptionFile(path, 5).close()
    with contextlib.closing(sqlite3.connect(path)) as file:
        file.execute("PRAGMA journal_mode = DELETE")
    (other := path.with_suffix(".txt")).write_text("of the user")
    page, name, magic = path.read_bytes()[:4096], bytes(other), bytes.fromhex("d9d505f920a163d7")
    header = magic + struct.pack(">5I", 1, 0, path.stat().st_size // 4096, 512, 4096)
    record = struct.pack(">I", 1) + page + struct.pack(">I", sum(page[196:4096:200]))
    end = struct.pack(">I", 2**30 // 4096 + 1) + name + struct.pack(">II", len(name), sum(name))
    path.with_name(path.name + "-journal").write_bytes(
        header.ljust(512, b"\0") + record + end + magic
    )


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (journal_of_several, "w.sqlite-journal beside it is no journal of this package"),
        (lambda path: os.mkfifo(f"{path}-journal"), "no journal of this package"),
        (lambda path: path.write_bytes(random.Random(0).randbytes(20000)), "not a database"),
        (lambda path: path.mkdir(), "no regular file"),
        (corrupt, "malformed|corrupt|not a database"),
        (foreign, "database of something else"),
        (lambda path: changed(path, TRIGGER), "other tables"),
        (lambda path: changed(path, "DROP TABLE words", VIEW), "other tables"),
        (lambda path: changed(path, COMPUTED), "other tables"),
        (lambda path: changed(path, "DROP INDEX words_used"), "other tables"),
        (lambda path: changed(path, "CREATE TABLE x (y DEFAULT 'a\x1b[2J')"), "other tables"),
        (lambda path: os.mkfifo(path), "no regular file"),
        (lambda path: path.symlink_to("/dev/zero"), "no regular file"),
        (lambda path: path.symlink_to(path.parent / "none"), "a link to a file that does not"),
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
    assert not (tmp_path / "none").exists()
    assert make is not journal_of_several or path.with_suffix(".txt").exists()
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


def test_a_file_that_is_slow_is_a_warning_and_the_region_is_described(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_file, "HANGS_S", 0.2)
    free = threading.Event()
    monkeypatch.setattr(DescriptionFile, "get", lambda self, key: free.wait(60) and None)
    cache = DescriptionCache(5, str(tmp_path / "w.sqlite"))

    async def made():
        return cup(1)

    async def go():
        found = await cache.get_or_make(key(1), made)
        free.set()
        await cache.close()
        return found

    assert asyncio.run(go()) == cup(1)
    assert "does not answer within 0.2 s" in cache.warning


def test_a_file_that_is_slow_does_not_stop_the_describer_of_another_package(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_file, "HANGS_S", 0.2)
    free = threading.Event()
    file = SharedDescriptionFile(tmp_path / "w.sqlite", 5, "descriptions are not cached")
    assert file.wait_for(lambda _: free.wait(60) and None) is None
    assert "does not answer within 0.2 s" in file.warning
    free.set()
    file.close()


def test_a_query_that_does_not_end_is_interrupted(tmp_path, monkeypatch):
    monkeypatch.setattr(cache_file, "SLOW_S", 0.1)
    file = DescriptionFile(tmp_path / "w.sqlite", 5)
    with pytest.raises(sqlite3.OperationalError, match="interrupted"):
        file._connection.execute(f"{ENDLESS} count(*) FROM n").fetchone()  # noqa: SLF001
    file.close()


def test_descriptions_of_other_packages_may_be_long(tmp_path):
    words = dataclasses.replace(CUP, text="A cup. It is red. " * 300, label="a " * 200)
    for limits, found in ((ANY, words), (ANSWER, None)):
        file = DescriptionFile(tmp_path / f"{limits.text}.sqlite", 5, limits)
        assert file.put(key(1), words) == words
        assert file.get(key(1)) == found
        file.close()
