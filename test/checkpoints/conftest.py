"""The server that imitates the hub, and a user of it."""

import pytest

from support.hub_server import Hub
from support.hub_user import FILES, User


@pytest.fixture
def hub():
    with Hub(FILES) as server:
        yield server


@pytest.fixture
def user(hub, tmp_path):
    return User(hub.url, tmp_path)
