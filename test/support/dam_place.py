"""An environment, a checkpoint and a port, in which DAM servers are started."""

import contextlib
import http.client
import json
import socket
import time
from pathlib import Path

from deep_perception.describers.dam.process import DamProcess
from deep_perception.settings import DamSettings, DescriberSettings
from support import dam_stand_in

PATIENCE_S = 60


def until(condition):
    """Wait until a condition holds, and return its value."""
    ends_at = time.monotonic() + PATIENCE_S
    while not (found := condition()):
        assert time.monotonic() < ends_at, "the condition does not hold"
        time.sleep(0.02)
    return found


def ready(manager):
    return until(lambda: manager.state().kind == "ready")


def lives(pid):
    """Whether a process runs; a zombie does not."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


class Place:
    """An environment, a checkpoint and a port; `managers` are closed at the end."""

    def __init__(self, path):
        self.environment = dam_stand_in.environment(path / "environment")
        self.checkpoint = path / "checkpoint"
        self.checkpoint.mkdir()
        (self.checkpoint / "config.json").write_text("{}")
        self.port = free_port()
        self.values = {
            "url": f"http://127.0.0.1:{self.port}/v1",
            "environment": str(self.environment),
            "checkpoint": str(self.checkpoint),
        }
        self.managers = []

    def settings(self, **changes):
        return DescriberSettings(dam=DamSettings(**(self.values | changes)))

    def manager(self, **changes):
        self.managers.append(DamProcess(self.settings(**changes)))
        return self.managers[-1]

    def started(self, **changes):
        manager = self.manager(**changes)
        manager.start()
        return manager

    def pids(self):
        return [start["pid"] for start in dam_stand_in.starts(self.environment)]

    def living(self):
        return [pid for pid in self.pids() if lives(pid)]

    def listening(self):
        """Return the process id that the server at the port reports, None without a server."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.request("GET", "/health")
            return json.loads(connection.getresponse().read())["pid"]
        except OSError:
            return None
        finally:
            connection.close()
