"""The server that imitates the hub with the files of DAM, and a user of it."""

import pytest

from support.dam_hub_user import FILES, Somebody
from support.hub_server import Hub


@pytest.fixture
def hub():
    with Hub(FILES) as server:
        yield server


@pytest.fixture
def user(hub, tmp_path):
    return Somebody(hub.url, tmp_path)
