"""The fixture that the tests of the managed DAM server share."""

import os
import signal

import pytest

from support.dam_place import Place


@pytest.fixture
def place(tmp_path):
    place = Place(tmp_path)
    yield place
    for manager in place.managers:
        manager.close()
    left = place.living()
    for pid in left:
        os.kill(pid, signal.SIGKILL)
    assert not left, "a server outlived its manager"
