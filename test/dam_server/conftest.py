"""The fixtures of the tests of the DAM server: a checkpoint, servers, and gates for the model."""

import pytest

from support.dam_server_process import Server, bare_package, make_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("dam")


@pytest.fixture(scope="module")
def checkpoint(folder):
    """A checkpoint whose model logs its batches, and waits while the file `gate` exists."""
    names = {name: str(folder / name) for name in ("journal", "gate", "load_gate")}
    return make_checkpoint(folder / "DAM-3B-Self-Contained", **names)


@pytest.fixture(scope="module")
def server(checkpoint, folder):
    server = Server(checkpoint, folder / "log", main=bare_package(folder / "site-packages"))
    yield server.wait_ready()
    server.kill()


@pytest.fixture
def gate(folder):
    """A file: while it exists, the model does not finish its batch."""
    path = folder / "gate"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def load_gate(folder):
    path = folder / "load_gate"
    path.touch()
    yield path
    path.unlink(missing_ok=True)


@pytest.fixture
def start(checkpoint, tmp_path):
    started = []

    def start_one(**options):
        started.append(Server(checkpoint, tmp_path / f"log{len(started)}", **options))
        return started[-1]

    yield start_one
    for one in started:
        one.kill()
