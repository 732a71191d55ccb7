"""What the tests of describers on a server have in common."""

import contextlib
import threading
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from deep_perception import masks
from deep_perception.describers.chat import Chat
from deep_perception.describers.server import retry
from deep_perception.points import Point
from deep_perception.regions import Region
from deep_perception.settings.options import settings_from
from support.chat_server import Server

PHOTO = cv2.imread(str(Path(__file__).parents[1] / "data" / "coffee.jpg"))
IMAGE = np.random.default_rng(0).integers(0, 255, (240, 320, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(retry, "BACK_OFF_S", 0.005)
    before = set(threading.enumerate())
    sockets = open_sockets()
    yield
    names = ("describer", "asyncio", "words")
    left = {thread for thread in threading.enumerate() if thread.name.startswith(names)}
    assert left <= before
    deadline = time.monotonic() + 5
    while open_sockets() > sockets and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_sockets() <= sockets


def open_sockets():
    count = 0
    for entry in Path("/proc/self/fd").iterdir():
        with contextlib.suppress(OSError):  # the folder's own descriptor
            count += str(entry.readlink()).startswith("socket:")
    return count


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
    """The words as they come, without the moments in which there are none."""
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
