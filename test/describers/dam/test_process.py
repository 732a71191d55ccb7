"""The managed DAM server: real processes, which dam_stand_in.py runs in place of the server."""

import logging
import os
import re
import signal
import threading
import time
from pathlib import Path

import pytest

from deep_perception.backends import BackendUnavailable
from deep_perception.dam_server import options as server_options
from deep_perception.describers.dam import process
from deep_perception.describers.dam.process import DamProcess
from deep_perception.settings import DamSettings
from support import dam_stand_in
from support.dam_place import lives, ready, until

pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and process ids as on Linux")


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


def test_unchecked_code_causes_one_warning(place, caplog):
    dam_stand_in.configure(place.environment)
    manager = place.started()
    ready(manager)
    os.kill(manager.pid, signal.SIGKILL)
    until(lambda: len(place.pids()) == 2)
    (warning,) = [one.message for one in caplog.records if "models.lock.json" in one.message]
    assert "has no models.lock.json: it is unknown whether its files" in warning


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


@pytest.mark.parametrize("url", ["", "127.0.0.1", "http://", "http://h:99999", "ftp://h/v1"])
def test_a_wrong_address(place, url):
    with pytest.raises(BackendUnavailable, match=r"describer\.dam\.url: .*expected for example"):
        place.manager(url=url)


def test_no_secret_is_shown_or_in_the_list_of_processes(place, caplog, monkeypatch):
    caplog.set_level(logging.DEBUG, "deep_perception")
    url = f"http://robot:hunter2x@127.0.0.1:{place.port}/v1"
    # The token in place of the name of its variable, and one in the variable of the checkpoint.
    manager = place.manager(url=url, api_key_env="s3cretTokenOfTheUser")
    manager.start()
    ready(manager)
    command_line = Path(f"/proc/{manager.pid}/cmdline").read_text()
    assert "--token-env" in command_line
    for text in (command_line, caplog.text, manager.state().message):
        assert "s3cret" not in text and "hunter2x" not in text
    assert f"the DAM server at http://***@127.0.0.1:{place.port}/v1: ready" in caplog.text


@pytest.mark.parametrize(
    ("token", "host", "message"),
    [
        ("s3cret-token\r", "127.0.0.1", "a carriage return at its end"),
        ("s3cret-t\xf6ken", "127.0.0.1", "a character that is not ASCII"),
        ("", "0.0.0.0", "set the environment variable DAM_API_TOKEN to a token"),
    ],
)
def test_the_server_refuses_a_token_without_its_text(token, host, message, monkeypatch, capsys):
    monkeypatch.setenv("DAM_API_TOKEN", token)
    values = {
        "host": host, "port": 0, "checkpoint": "c", "device": "cpu", "precision": "fp16",
        "max-batch": 1, "max-queue": 1, "max-tokens": 16, "temperature": 0, "top-p": 1,
        "num-beams": 1, "token-env": "DAM_API_TOKEN",
    }  # fmt: skip
    with pytest.raises(SystemExit):
        server_options.parse([f"--{name}={value}" for name, value in values.items()])
    shown = capsys.readouterr().err
    assert message in shown
    assert "s3cret" not in shown


def test_a_server_with_much_output_is_not_blocked(place, caplog):
    caplog.set_level(logging.INFO, "deep_perception.describers.dam.process")
    dam_stand_in.configure(place.environment, noise=5_000_000)
    ready(place.started())
    until(lambda: "DAM server: that was much" in caplog.text)


# -- failures -------------------------------------------------------------------------------------


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
