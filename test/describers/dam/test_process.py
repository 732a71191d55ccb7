"""The managed DAM server: real processes, which dam_stand_in.py runs in place of the server."""

import logging
import os
import re
import signal
import socket
import subprocess
import sys
import textwrap
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path

import pytest

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.dam import process
from deep_perception.describers.dam.process import DamProcess
from deep_perception.settings import DamSettings
from support import dam_stand_in
from support.dam_place import PATIENCE_S, Place, lives, until

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and process ids as on Linux")


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


def ready(manager):
    return until(lambda: manager.state().kind == "ready")


def test_starting_loading_ready_stopped(place):
    dam_stand_in.configure(place.environment, import_gate=True, load_gate=True)
    manager = place.manager()
    assert manager.state().kind == "stopped"
    assert manager.problem() == "the DAM server is not started"
    started = time.monotonic()
    manager.start()
    assert manager.state().kind == "starting"
    (seconds,) = re.findall(r"the DAM server is starting \((\d+) s so far\)", manager.problem())
    assert int(seconds) <= round(time.monotonic() - started)
    (place.environment / "imported").touch()
    until(lambda: manager.state().kind == "loading")
    assert manager.problem().startswith("the DAM server is loading its model (")
    (place.environment / "loaded").touch()
    ready(manager)
    assert manager.problem() == ""
    manager.start()  # A second call does nothing.
    (pid,) = place.pids()
    assert manager.pid == pid == place.listening()
    manager.close()
    assert not lives(pid)
    assert manager.state().kind == "stopped"
    assert not [thread for thread in threading.enumerate() if thread.name == "dam_server"]
    manager.close()  # A second call does nothing.


def test_the_server_gets_every_setting_and_a_clean_environment(place, monkeypatch):
    for name in ("LD_LIBRARY_PATH", "PYTHONPATH", "DEEP_PERCEPTION_ENV"):
        monkeypatch.setenv(name, "/of/the/caller")
    monkeypatch.setenv("_ROS_WHEELS_BOOTSTRAP_COMPLETE", "1")
    monkeypatch.setenv("DAM_API_TOKEN", "secret")
    settings = place.settings(device="cpu", precision="4bit", max_batch=3, top_p=0.25)
    settings.temperature = 0.7
    manager = DamProcess(settings)
    place.managers.append(manager)
    manager.start()
    ready(manager)
    (start,) = dam_stand_in.starts(place.environment)
    assert start["options"] == {
        "host": "127.0.0.1",
        "port": str(place.port),
        "checkpoint": str(place.checkpoint),
        "device": "cpu",
        "precision": "4bit",
        "max_batch": "3",
        "max_queue": str(DamSettings().max_queue),
        "max_tokens": str(DamSettings().max_tokens),
        "temperature": "0.7",
        "top_p": "0.25",
        "num_beams": "1",
        "token_env": "DAM_API_TOKEN",
        "with_parent": True,
    }
    assert start["variables"]["DAM_API_TOKEN"] == "secret"
    caller = {"LD_LIBRARY_PATH", "PYTHONPATH", "DEEP_PERCEPTION_ENV"}
    assert not start["variables"].keys() & {*caller, "_ROS_WHEELS_BOOTSTRAP_COMPLETE"}


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


def test_unchecked_code_causes_one_warning(place, caplog):
    dam_stand_in.configure(place.environment)
    manager = place.started()
    ready(manager)
    os.kill(manager.pid, signal.SIGKILL)
    until(lambda: len(place.pids()) == 2)
    (warning,) = [one.message for one in caplog.records if "models.lock.json" in one.message]
    assert "has no models.lock.json: it is unknown whether its files" in warning


def test_a_killed_server_is_restarted(place):
    manager = place.started()
    ready(manager)
    first = manager.pid
    os.kill(first, signal.SIGKILL)
    problem = until(lambda: "killed by signal 9" in manager.problem() and manager.problem())
    assert "started again after 1 s" in problem
    until(lambda: manager.pid not in (None, first))
    ready(manager)
    assert place.living() == [manager.pid]


def test_the_pauses_between_restarts_grow(place, caplog):
    caplog.set_level(logging.WARNING, "deep_perception.describers.dam.process")
    (place.environment / "bin" / "python").write_text(
        "#!/bin/sh\necho no such option >&2\nexit 2\n"
    )
    place.started()
    until(lambda: "after 4 s" in caplog.text)
    said = [record.message for record in caplog.records if "ended" in record.message]
    assert said == [
        f"the DAM server ended with status 2: no such option; it is started again after {pause} s"
        for pause in (1, 2, 4)
    ]


def test_a_model_that_cannot_be_loaded_is_reported_and_not_retried_in_a_loop(place, monkeypatch):
    checks = []
    monkeypatch.setattr(process, "READY_CHECK_S", 0.05)
    get_health = process.get_health
    monkeypatch.setattr(process, "get_health", lambda *of: checks.append(1) or get_health(*of))
    reason = "no CUDA device is here; describer.dam.device cpu forces"
    dam_stand_in.configure(place.environment, fails=reason)
    manager = place.started()
    problem = until(lambda: "status 3" in manager.problem() and manager.problem())
    assert reason in problem
    assert "after 60 s" in problem
    before = len(checks)
    until(lambda: len(checks) > before + 10)
    assert len(place.pids()) == 1
    # During the pause, the server of another process is found at once.
    dam_stand_in.configure(place.environment)
    owner = place.started()
    ready(owner)
    ready(manager)
    assert manager.pid is None


def test_the_error_of_a_server_is_reported(place):
    dam_stand_in.configure(place.environment, status="failed", error="CUDA error: launch failure")
    manager = place.started()
    until(lambda: manager.state().kind == "failed")
    assert manager.problem() == "the DAM server failed: CUDA error: launch failure"


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


def test_a_manager_that_is_killed_leaves_no_server(place, tmp_path):
    code = textwrap.dedent(
        f"""
        import sys, time
        from deep_perception.describers.dam.process import DamProcess
        from deep_perception.settings import DamSettings, DescriberSettings
        manager = DamProcess(DescriberSettings(dam=DamSettings(**{place.values!r})))
        manager.start()
        while manager.state().kind != "ready":
            time.sleep(0.02)
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        time.sleep(600)
        """
    )
    with subprocess.Popen(
        [sys.executable, "-c", code],
        stdout=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as process:
        try:
            assert process.stdout.readline() == b"ready\n"
            (pid,) = place.living()
        finally:
            process.kill()
    until(lambda: not lives(pid))


def test_a_manager_that_forgets_to_close_ends_and_leaves_no_server(place):
    code = textwrap.dedent(
        f"""
        import time
        from deep_perception.describers.dam.process import DamProcess
        from deep_perception.settings import DamSettings, DescriberSettings
        manager = DamProcess(DescriberSettings(dam=DamSettings(**{place.values!r})))
        manager.start()
        while manager.state().kind != "ready":
            time.sleep(0.02)
        """
    )
    env = os.environ | {"PYTHONPATH": str(ROOT)}
    subprocess.run([sys.executable, "-c", code], check=True, timeout=PATIENCE_S, env=env)
    (pid,) = place.pids()
    until(lambda: not lives(pid))


def test_a_server_that_ignores_sigterm_is_killed(place):
    dam_stand_in.configure(place.environment, stubborn=True)
    manager = place.started()
    ready(manager)
    pid = manager.pid
    manager.close()
    assert not lives(pid)


def test_a_server_is_ended_while_it_starts(place):
    dam_stand_in.configure(place.environment, import_gate=True)
    manager = place.started()
    until(place.living)
    manager.close()
    assert place.living() == []


def test_a_server_with_much_output_is_not_blocked(place, caplog):
    caplog.set_level(logging.INFO, "deep_perception.describers.dam.process")
    dam_stand_in.configure(place.environment, noise=5_000_000)
    ready(place.started())
    until(lambda: "DAM server: that was much" in caplog.text)


def test_the_problem_names_the_command_for_what_is_missing(place, monkeypatch):
    monkeypatch.setattr(process, "MISSING_CHECK_S", 0.1)
    away = place.environment.rename(place.environment.with_name("away"))
    config = place.checkpoint / "config.json"
    config.unlink()
    manager = place.started()
    setup = f"deep_perception models setup-dam --environment {place.environment}"
    until(lambda: manager.problem().endswith(setup))
    assert f"DAM has no environment at {place.environment}" in manager.problem()
    away.rename(place.environment)
    until(lambda: manager.problem().endswith("deep_perception models fetch dam"))
    assert f"DAM has no checkpoint at {place.checkpoint}" in manager.problem()
    config.write_text("{}")
    ready(manager)


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


@pytest.mark.parametrize("url", ["", "127.0.0.1", "http://", "http://h:99999", "ftp://h/v1"])
def test_a_wrong_address(place, url):
    with pytest.raises(BackendUnavailable, match=r"describer\.dam\.url: .*expected for example"):
        place.manager(url=url)


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


def test_started_and_closed_many_times_nothing_is_left(place):
    manager = place.manager()
    before = len(list(Path("/proc/self/fd").iterdir()))
    for turn in range(5):
        manager.start()
        if turn % 2:
            ready(manager)
        manager.close()
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    assert place.living() == []
