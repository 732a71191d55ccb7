"""What the tests of describers on a server share."""

import contextlib
import threading
import time
from pathlib import Path

import cv2
import numpy as np

from deep_perception import masks
from deep_perception.describers.chat import Chat
from deep_perception.points import Point
from deep_perception.regions import Region
from deep_perception.settings.options import settings_from
from support.chat_server import Server

PHOTO = cv2.imread(str(Path(__file__).parents[1] / "data" / "coffee.jpg"))
PATIENCE_S = 60.0
IMAGE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


def open_sockets():
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the folder's own descriptor
            count += str(entry.readlink()).startswith("socket:")
    return count


class Counted:
    """A describer that counts the descriptions that its caller has taken."""

    def __init__(self, describer):
        self._describer = describer
        self._taken, self._changed = 0, threading.Condition()

    def __getattr__(self, name):
        return getattr(self._describer, name)

    def describe(self, image, regions):
        with contextlib.closing(self._describer.describe(image, regions)) as described:
            for item in described:
                yield item
                # The caller asks for the next item when it has taken this one.
                with self._changed:
                    self._taken += item is not None
                    self._changed.notify_all()

    def wait_for(self, count):
        with self._changed:
            assert self._changed.wait_for(lambda: self._taken >= count, PATIENCE_S)


class MovedClock:
    """Replaces the module ``time`` in others; ``forward`` moves it, so that no test has to wait."""

    def __init__(self, monkeypatch, *modules):
        self.seconds = 0.0
        for module in modules:
            monkeypatch.setattr(module, "time", self)

    def __getattr__(self, name):
        return getattr(time, name)

    def perf_counter(self):
        return time.perf_counter() + self.seconds

    def forward(self, seconds):
        self.seconds += seconds


def regions_of(count, image=IMAGE):
    """Squares on a grid, each a little larger than the one before."""
    height, width = image.shape[:2]
    made = []
    for index in range(1, count + 1):
        mask = np.zeros((height, width), np.bool_)
        x, y = (index * 37) % (width - 24), (index * 53) % (height - 24)
        mask[y : y + 20, x : x + 4] = True
        mask.flat[np.flatnonzero(mask)[0] : np.flatnonzero(mask)[0] + 4 + index % 20] = True
        made.append(
            Region.from_mask(
                index=index, point=Point(x + 1, y + 1, "grid"), mask=mask, score=1.0,
                source=masks.size_of(image),
            )
        )  # fmt: skip
    return made


def chat(server, **changes):
    changes = {"fallback": "", "url": server.url, **changes}
    return Chat(settings_from({f"describer.{name}": value for name, value in changes.items()}))


def ask(describer, regions):
    """Return the descriptions as they come, without the None that a waiting describer yields."""
    return list(filter(None, describer.describe(IMAGE, regions)))


def describe(server, count=1, **changes):
    describer = chat(server, **changes)
    try:
        return [words for _, words in ask(describer, regions_of(count))], describer.warnings
    finally:
        describer.close()


def one(reply, **changes):
    with Server(lambda request: reply) as server:
        (words,), warnings = describe(server, **changes)
    return words, warnings, server


def shapes():
    image = np.full((240, 320, 3), (200, 190, 180), np.uint8)
    image[40:120, 40:140] = (30, 30, 200)
    image[140:220, 180:300] = (40, 160, 40)
    return image


def free_port():
    with Server() as server:
        return server.port
