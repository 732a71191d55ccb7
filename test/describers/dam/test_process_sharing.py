"""A DAM server of another process at the address: it is used, and not ended."""

import os
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from support import dam_stand_in
from support.dam_place import ready, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and process ids as on Linux")


def test_a_running_server_is_used_and_not_ended(place):
    owner, guest = place.started(), None
    ready(owner)
    guest = place.started()
    ready(guest)
    assert guest.pid is None
    guest.close()
    assert place.listening() == owner.pid
    assert len(place.pids()) == 1


def test_a_server_that_is_stopping_is_not_used_and_replaced_by_another(place):
    dam_stand_in.configure(place.environment, status="stopping")
    ending = place.started()
    until(lambda: place.listening())
    manager = place.started()
    dam_stand_in.configure(place.environment)
    until(lambda: manager.state().kind == "starting")
    assert "is starting" in manager.problem()
    ending.close()
    ready(manager)
    assert manager.pid == place.listening()


def test_two_nodes_that_start_at_once_share_a_server_and_inherit_it(place):
    # Both start a server before either listens.
    dam_stand_in.configure(place.environment, import_gate=True)
    first, second = place.started(), place.started()
    until(lambda: len(place.pids()) == 2)
    (place.environment / "imported").touch()
    ready(first)
    ready(second)
    until(lambda: len(place.living()) == 1)
    (pid,) = place.living()
    assert place.listening() == pid
    until(lambda: sorted([str(first.pid), str(second.pid)]) == sorted([str(pid), "None"]))
    owner, heir = (first, second) if first.pid else (second, first)
    owner.close()
    until(lambda: heir.pid is not None and place.listening() == heir.pid)
    ready(heir)
    assert place.living() == [heir.pid]


@pytest.mark.parametrize(
    "changes",
    [{"url": "http://192.0.2.1:8470/v1"}, {"url": "http://robot:8470"}, {"manage_server": False}],
)
def test_a_server_that_is_not_managed_is_not_started(place, changes):
    manager = place.started(**changes)
    assert manager.state().kind == "unmanaged"
    assert manager.problem() == ""
    assert not [thread for thread in threading.enumerate() if thread.name == "dam_server"]
    assert place.pids() == []


def test_a_port_that_another_program_has(place):
    with socket.create_server(("127.0.0.1", place.port)):
        manager = place.started()
        until(lambda: "does not answer GET /health: end it" in manager.problem())
        assert place.pids() == []
    ready(manager)


def test_a_server_without_our_health_is_used(place):
    class Other(BaseHTTPRequestHandler):
        def log_message(self, *_):
            pass

        def do_GET(self):
            body = b'{"detail":"Not Found"}'  # NVIDIA's server answers this to an unknown path.
            self.send_response(404)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with HTTPServer(("127.0.0.1", place.port), Other) as server:
        threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
        ready(place.started(url=f"http://127.0.0.1:{place.port}"))
        assert place.pids() == []
        server.shutdown()
