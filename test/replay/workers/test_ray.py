"""Several recordings on Ray clusters: the same outputs, also when actors die."""

import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import pytest

from support import bags
from support.replay_workers import (
    descendants,
    finish,
    one_after_the_other,
    processes,
    start,
    start_among_foreign_modules,
    three,
    wait_for,
    wait_for_waiting_worker,
)
from support.replays import content

pytestmark = pytest.mark.ray


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return three(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def alone(recordings, tmp_path_factory):
    return one_after_the_other(recordings, tmp_path_factory.mktemp("alone"))


@pytest.fixture(autouse=True)
def folders(tmp_path, monkeypatch):
    # Ray keeps a token there, and where it finds one it asks for it.
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("RAY_AUTH_MODE", raising=False)
    # For what is left of a command that is killed. The paths of Ray's sockets must be short.
    with tempfile.TemporaryDirectory(prefix="r", ignore_cleanup_errors=True) as folder:
        monkeypatch.setenv("TMPDIR", folder)
        yield


def actors(process):
    return [pid for pid, line in descendants(process.pid) if line.startswith("ray::Replayer")]


@contextmanager
def ray_start(*arguments):
    """A machine of a cluster, started by the command of users, and the output of that command."""
    command = [sys.executable, "-m", "ray.scripts.scripts", "start", "--block"]
    with tempfile.TemporaryFile("w+") as output:
        process = subprocess.Popen(
            [*command, "--disable-usage-stats", *arguments], stdout=output, stderr=output
        )

        def started():
            output.seek(0)
            text = output.read()
            assert process.poll() is None, text
            # After the address, where it says one.
            return "To terminate the Ray runtime" in text and text

        try:
            yield wait_for(started, "a cluster"), process
        finally:
            process.terminate()
            process.wait(60)


@contextmanager
def head(cpus):
    """The address of a cluster, and its only machine."""
    with (
        tempfile.TemporaryDirectory(prefix="ray-") as folder,
        ray_start(
            "--head", "--port=0", f"--num-cpus={cpus}", "--include-dashboard=false",
            f"--temp-dir={folder}",
        ) as (output, machine),
    ):  # fmt: skip
        yield re.search(r"--address='([^']+)'", output)[1], machine


@pytest.fixture
def cluster():
    """The address of a cluster, and its machines: all work is done by another one than ours."""
    with (
        head(cpus=0) as (address, ours),
        ray_start(f"--address={address}", "--num-cpus=2") as (_, other),
    ):
        yield address, (ours, other)


# -- the same results ---------------------------------------------------------------------------


@pytest.mark.parametrize(("where", "code"), [("local", 0), ("127.0.0.1:1", 2)])
def test_modules_beside_foreign_recordings_are_not_imported(recordings, tmp_path, where, code):
    arguments = ("../out", "--ray", where, "--workers", "1")
    finish(start_among_foreign_modules(recordings[0], *arguments, folder=tmp_path), code)
    assert (tmp_path / "out" / "one" / "scenes.jsonl").exists() == (code == 0)
    assert not (tmp_path / "was_run").exists()


def test_ray_makes_what_one_process_makes(recordings, tmp_path):
    """Relative paths, a describer that says where and how it works, a recording that is none."""
    (tmp_path / "recorded").symlink_to(recordings[0].parent)
    (tmp_path / "recorded.mcap").write_bytes(b"nothing")
    one, two, three = (Path("recorded") / path.name for path in recordings)
    how = {"folder": tmp_path, "backend": "Placed"}
    finish(start([one, two, three], "alone", **how))
    # Else its words are remembered.
    shutil.rmtree(tmp_path / "cache")
    process = start([one, "recorded.mcap", two, three], "out", "--ray", "local", **how)
    output = finish(process, code=2).splitlines()
    assert content(tmp_path / "out") == content(tmp_path / "alone")
    # A busy machine may need longer to start an actor.
    waiting = "deep_perception: --ray local: waiting for the cluster to have room"
    (line,) = [line for line in output if line.startswith("deep_perception: ") and line != waiting]
    assert line.startswith("deep_perception: recorded.mcap: ")
    for name in ("one", "two", "three"):
        assert any(re.match(rf"{name}: \d+ frames", line) for line in output)


# -- what dies ----------------------------------------------------------------------------------


def test_another_actor_resumes_the_recording_of_a_killed_one(recordings, alone, tmp_path):
    process = start(
        recordings, tmp_path / "out", "--ray", "local", folder=tmp_path, backend="DiesOnce"
    )
    output = finish(process)
    assert output.count("its worker died; another one resumes it") == 1
    assert "(raylet)" not in output
    assert content(tmp_path / "out") == alone


def test_a_recording_that_kills_its_actors_does_not_stop_the_others(recordings, alone, tmp_path):
    white = [np.full((120, 160, 3), 255, np.uint8)] * 3
    deadly = bags.write_bag(tmp_path / "deadly", white)
    process = start(
        [deadly, *recordings], tmp_path / "out", "--ray", "local", "--workers", "2",
        folder=tmp_path, backend="Deadly",
    )  # fmt: skip
    output = finish(process, code=2)
    assert "its worker died 3 times" in output
    found = content(tmp_path / "out")
    assert {name: data for name, data in found.items() if not name.startswith("deadly/")} == alone


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_actor_is_left_and_the_same_command_resumes(recordings, alone, tmp_path, number):
    how = {"folder": tmp_path, "backend": "WaitsOnce"}
    process = start(recordings, tmp_path / "out", "--ray", "local", **how)
    wait_for_waiting_worker(tmp_path)
    working = actors(process)
    assert working
    process.send_signal(number)
    output, _ = process.communicate(timeout=60)
    if number != signal.SIGKILL:
        assert "deep_perception: interrupted; run again with the same command to resume" in output
        assert "Traceback" not in output
    # An actor ends itself a moment after the death of the command.
    wait_for(lambda: not {pid for pid, _, _ in processes()} & {*working}, "the actors' end")
    (tmp_path / "go_on").touch()
    output = finish(start(recordings, tmp_path / "out", "--ray", "local", **how))
    assert "resuming behind" in output
    assert content(tmp_path / "out") == alone


# -- clusters -----------------------------------------------------------------------------------


def test_a_running_cluster_is_used_and_left_running(recordings, alone, cluster, tmp_path):
    address, machines = cluster
    for output in ("out", "again"):
        finish(start(recordings, tmp_path / output, "--ray", address, folder=tmp_path))
        assert content(tmp_path / output) == alone
    assert all(machine.poll() is None for machine in machines)
    missing = tmp_path / "missing.mcap"
    process = start([missing], tmp_path / "none", "--ray", address, folder=tmp_path)
    assert re.search(rf"{missing}: there is no such file .* \(on \S+\)\n", finish(process, code=2))
    assert not list((tmp_path / "none").iterdir())


def test_a_cluster_that_asks_for_a_token_gets_it(recordings, alone, tmp_path):
    token = tmp_path / ".ray/auth_token"
    token.parent.mkdir()
    token.write_text("0123456789abcdef" * 4)
    with head(cpus=2) as (address, _):
        finish(start(recordings, tmp_path / "out", "--ray", address, folder=tmp_path))
        assert content(tmp_path / "out") == alone
        token.write_text("another" * 5)
        output = finish(
            start(recordings, tmp_path / "no", "--ray", address, folder=tmp_path), code=2
        )
        assert output.splitlines()[-1].endswith("; expected its token in ~/.ray/auth_token")


def test_where_no_cluster_answers_it_says_so(recordings, tmp_path):
    began = time.monotonic()
    process = start(recordings, tmp_path / "out", "--ray", "127.0.0.1:1", folder=tmp_path)
    (line,) = finish(process, code=2).splitlines()
    reason = "no cluster answers there within 30 s"
    assert line.startswith(f"deep_perception: --ray 127.0.0.1:1: {reason}")
    assert time.monotonic() - began < 60
    for address in ("nowhere", "ray://127.0.0.1:10001"):
        process = start(recordings, tmp_path / "out", "--ray", address, folder=tmp_path)
        output = finish(process, code=2).splitlines()[-1]
        assert output.endswith(f"{address!r}: expected HOST:PORT, auto or local")
    assert not (tmp_path / "out").exists()
