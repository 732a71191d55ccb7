"""1,000 regions, and a chat server that fails one time in five, in all ways of real servers."""

import contextlib
import gc
import json
import random
import threading
import time
from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest

from deep_perception.analyzer import Analyzer, Callbacks
from deep_perception.masks import size_of
from deep_perception.settings.options import settings_from
from support.chat_server import DROP, WORDS, Reply, Server, completion, picture

pytestmark = pytest.mark.chat

COLUMNS, ROWS = 40, 25
COUNT = COLUMNS * ROWS
SIZE = 328, 260  # the smallest with whole pixels between the grid's points
TILE = 5  # pixels on each side of a point's column; rows have one less
# One large scene, and two of half its size that show what a scene leaves in memory.
FAILS, SCENES = 0.2, (COUNT, COUNT // 2, COUNT // 2)
PATIENCE_S = 60.0


# -- an image of 1,000 tiles with different colours ----------------------------------------------


def color_of(number):
    """Return one of 1,000 colours that can be told apart after JPEG compression."""
    return [20 + 24 * (number // power % 10) for power in (1, 10, 100)]


def number_of(color):
    digits = [min(9, max(0, round((float(value) - 20) / 24))) for value in color]
    return sum(digit * power for digit, power in zip(digits, (1, 10, 100), strict=True))


def centres():
    width, height = SIZE
    for column in range(1, COLUMNS + 1):
        for row in range(1, ROWS + 1):
            yield int(column * width / (COLUMNS + 1)), int(row * height / (ROWS + 1))


def window(x, y):
    return slice(y - TILE + 1, y + TILE), slice(x - TILE + 2, x + TILE - 1)


def tiles():
    image = np.zeros((SIZE[1], SIZE[0], 3), np.uint8)
    for number, (x, y) in enumerate(centres()):
        image[window(x, y)] = color_of(number)
    return image


class Tiles:
    """A segmenter that finds the tile around each point."""

    name, model, chunk_size = "tiles", "", 16

    def embed(self, image):
        return size_of(image)

    def masks(self, size, points):
        found = np.zeros((len(points), size.height, size.width), np.bool_)
        for mask, (x, y) in zip(found, points, strict=True):
            mask[window(x, y)] = True
        return found, np.ones(len(points), np.float32)

    def close(self):
        pass


def seen_in(request):
    """Return the number of the tile that a request's image shows."""
    image = cv2.imdecode(np.frombuffer(picture(request), np.uint8), cv2.IMREAD_REDUCED_COLOR_4)
    height, width = image.shape[:2]
    core = image[height * 3 // 7 : height * 4 // 7, width * 3 // 7 : width * 4 // 7]
    return number_of(np.median(core.reshape(-1, 3), axis=0))


def words_of(number):
    return {**WORDS, "label": f"tile {number}", "caption": f"A tile with the number {number}."}


# -- a server that fails -------------------------------------------------------------------------


class Trouble:
    """Gives right answers, but one time in five a wrong one, and is away for a moment twice."""

    def __init__(self, kinds, away=(300, 700)):
        self.kinds, self.away = kinds, away
        self.dice, self.lock = random.Random(11), threading.Lock()
        self.fails = FAILS
        self.asked, self.done = 0, Counter()
        self.end = threading.Event()
        self.server = self.settings = None

    def answer(self, request):
        self.server.requests.clear()
        self.server.headers.clear()
        number = seen_in(request)
        good = completion(words_of(number))
        with self.lock:
            self.asked += 1
            kind = self.dice.choice(self.kinds) if self.dice.random() < self.fails else "good"
            if self.asked in self.away and self.fails:
                kind = "the server is away"
            self.done[kind] += 1
        time.sleep(0.005)
        if kind == "the server is away":
            return self.leave()
        if kind == "stall":
            self.end.wait(PATIENCE_S)
            return DROP
        return {
            "good": Reply(good),
            "another model": Reply({**good, "model": "another"}),
            "cut at the limit": Reply(completion(
                json.dumps(words_of(number))[:60], reason="length")),
            "thoughts only": Reply(completion(
                "", reasoning_content=json.dumps(words_of(number)))),
            "empty": Reply(completion("")),
            "repeats": Reply(completion("red " * 40)),
            "truncated JSON": Reply(json.dumps(good)[:40]),
            "200 with an error": Reply({"error": {"message": "Error: slot crashed"}}),
            "a web page": Reply("<!doctype html><html>Error", kind="text/html"),
            "400 string": Reply('"Error: bad request"', 400),
            "429": Reply({"error": "Error: busy"}, 429, {"Retry-After": "0.2"}),
            "500": Reply("Internal Server Error", 500, kind="text/plain"),
            "503": Reply({"error": {"message": "Error: loading"}}, 503),
            "dropped": DROP,
            "dropped in the body": Reply(good, cut=30),
            "400 no models": Reply({"error": "No models loaded."}, 400),
            "404 no models": Reply({"error": {"message": "No models loaded. Load one."}}, 404),
            "401": Reply({"error": "Error: token"}, 401),
        }[kind]  # fmt: skip

    def leave(self):
        """Close all connections, and refuse new ones for a moment."""
        self.server.__exit__()
        time.sleep(0.3)
        self.server.__enter__()
        return DROP


PASSING = (
    "another model", "cut at the limit", "thoughts only", "empty", "repeats", "truncated JSON",
    "200 with an error", "a web page", "400 string", "429", "500", "503", "dropped",
    "dropped in the body",
)  # fmt: skip
# A stall is rare, because several of them in a row at the end of a scene open the breaker.
PASSING = (*PASSING * 4, "stall")
# After one of these, the server is not used for the rest of the scene.
FINAL = ("400 no models", "404 no models", "401")


@contextlib.contextmanager
def troubled(kinds, fallback):
    """Yield a server that fails, and an Analyzer that uses it."""
    trouble = Trouble(kinds)
    with Server(trouble.answer) as server:
        trouble.server = server
        trouble.settings = {
            "points.sources": "grid", "points.grid_columns": COLUMNS, "points.grid_rows": ROWS,
            "sweep.min_mask_area": 1, "segmenter.backend": f"{__name__}:Tiles",
            "describer.backend": "chat", "describer.fallback": fallback,
            "describer.url": server.url, "describer.max_concurrency": 16,
            "describer.region_timeout_s": 4, "describer.cache_size": 0,
        }  # fmt: skip
        try:
            with Analyzer(settings_from(trouble.settings)) as analyzer:
                yield trouble, analyzer
        finally:
            trouble.end.set()


def analyze(analyzer, count=COUNT):
    """Analyze the tiles, and check that each region is published once, with or without a reason."""
    handed = []
    scene = analyzer.analyze(tiles(), callbacks=Callbacks(on_region=handed.append))
    assert [region.index for region in scene.regions] == list(range(1, count + 1))
    assert Counter(region.index for region in handed) == dict.fromkeys(range(1, count + 1), 1)
    final = {region.index: region.description for region in handed}
    for number, region in enumerate(scene.regions):
        words = region.description
        assert words is final[region.index]
        assert words.status in ("described", "failed")
        assert "rror" not in words.text + words.label
        if words.status == "failed":
            assert words.error and not words.text and not words.label
        elif words.describer == "chat":
            assert words.label == f"tile {number}"
            whole = f"A tile with the number {number}."
            # Of an answer that was truncated twice, only the label is complete.
            assert words.text == whole or (words.truncated and words.text == words.label)
            assert words.model in ("qwen-vl", "another")
    return scene


def open_files():
    return len(list(Path("/proc/self/fd").iterdir()))


def own(threads):
    """Return the threads without those of the server, which end with their connections."""
    return {thread for thread in threads if "process_request" not in thread.name}


def resident_mb():
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 2**20


def until(condition, what):
    deadline = time.monotonic() + PATIENCE_S
    while not condition():
        assert time.monotonic() < deadline, what()
        time.sleep(0.05)


@pytest.fixture
def nothing_left():
    """Check that no thread, socket or file is left at the end that was not there before."""
    threads, files = set(threading.enumerate()), open_files()
    yield
    until(
        lambda: own(threading.enumerate()) <= threads and open_files() <= files,
        lambda: f"{own(threading.enumerate()) - threads}; {open_files()} files, {files} before",
    )


def recover(trouble, analyzer):
    """Let the server work until it describes a few regions."""
    trouble.fails, last = 0, []
    analyzer.settings = settings_from({**trouble.settings, "sweep.max_regions": 4})

    def recovered():
        last[:] = [analyze(analyzer, 4)]
        return {region.description.describer for region in last[0].regions} == {"chat"} and (
            last[0].warnings == analyzer.models.warnings == ()
        )

    until(recovered, lambda: last[0].warnings)
    trouble.fails = FAILS
    analyzer.settings = settings_from(trouble.settings)


@pytest.mark.slow
def test_every_region_is_described_or_failed_and_nothing_is_left_behind(nothing_left):
    with troubled(PASSING, fallback="") as (trouble, analyzer):
        described, lost, memory = 0, 0, []
        for count in SCENES:
            analyzer.settings = settings_from({**trouble.settings, "sweep.max_regions": count})
            scene = analyze(analyzer, count)
            descriptions = [region.description for region in scene.regions]
            described += sum(one.status == "described" for one in descriptions)
            lost += sum("no connection" in one.error for one in descriptions)
            del descriptions
            warned = bool(scene.warnings)
            del scene
            if warned:
                recover(trouble, analyzer)
            memory.append(resident_mb())
        assert set(trouble.done) == {*PASSING, "good", "the server is away"}
        assert trouble.done["the server is away"] == len(trouble.away)
        # A second request describes nearly all regions whose first one failed, unless the server is
        # away for so long that the rest of the scene is not sent to it.
        assert described > 0.9 * (sum(SCENES) - lost)
        assert lost < len(trouble.away) * COUNT
        # The masks of the last scene take 42 MB.
        assert memory[-1] - memory[1] < 20, memory


def test_the_fallback_describes_all_regions_while_the_server_cannot_be_used(nothing_left):
    with troubled((*PASSING, *FINAL), fallback="attributes") as (trouble, analyzer):
        describers = Counter()
        for _ in range(2):
            scene = analyze(analyzer)
            describers.update(region.description.describer for region in scene.regions)
            assert any("'attributes' is used instead" in warning for warning in scene.warnings)
            recover(trouble, analyzer)
        assert describers["attributes"] and describers["chat"]
