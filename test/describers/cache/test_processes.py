"""Several processes that share the file of the cache, and one that is killed."""

import contextlib
import dataclasses
import json
import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

import deep_perception
from deep_perception.describers.cache.memory import DescriptionCache
from support.cached_descriptions import CUP, cup, key, run

pytestmark = pytest.mark.usefixtures("quick_retries")
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
