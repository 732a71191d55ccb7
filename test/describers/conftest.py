"""The fixture that the tests of describers on a server share."""

import threading
import time

import pytest

from deep_perception.describers.server import retry
from support.chat_scene import PATIENCE_S, open_sockets


@pytest.fixture
def quick_retries(monkeypatch):
    """Retry without a pause, and check that no thread and no socket is left behind."""
    monkeypatch.setattr(retry, "BACK_OFF_S", 0.005)
    before = set(threading.enumerate())
    sockets = open_sockets()
    yield
    names = ("describer", "asyncio", "words")
    left = {thread for thread in threading.enumerate() if thread.name.startswith(names)}
    assert left <= before
    deadline = time.monotonic() + PATIENCE_S
    while open_sockets() > sockets and time.monotonic() < deadline:
        time.sleep(0.01)
    assert open_sockets() <= sockets
