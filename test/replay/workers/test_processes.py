"""Several recordings at once by worker processes: the same outputs, also when workers die."""

import signal

import numpy as np
import pytest

from support import bags
from support.replay_workers import (
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


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return three(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def alone(recordings, tmp_path_factory):
    """The outputs of a single process."""
    found = one_after_the_other(recordings, tmp_path_factory.mktemp("alone"))
    assert {name.split("/")[1] for name in found} >= {"scenes.jsonl", "report.html", "bag"}
    return found


def workers_of(process):
    return [
        pid
        for pid, parent, command in processes()
        if parent == process.pid and "spawn_main" in command
    ]


def test_two_workers_make_what_one_process_makes(recordings, alone, tmp_path):
    output = finish(start(recordings, tmp_path / "out", "--workers", "2", folder=tmp_path))
    assert content(tmp_path / "out") == alone
    for recording in recordings:
        assert f"{recording.name}: " in output


def test_modules_beside_foreign_recordings_are_not_imported(recordings, tmp_path):
    where = ("../out", "--workers", "2")  # A relative path is one for workers too.
    finish(start_among_foreign_modules(recordings[0], *where, folder=tmp_path))
    assert (tmp_path / "out" / "one" / "scenes.jsonl").exists()
    assert not (tmp_path / "was_run").exists()


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--overwrite",)])
def test_another_worker_resumes_the_recording_of_a_killed_one(recordings, alone, tmp_path, how):
    process = start(
        recordings, tmp_path / "out", "--workers", "2", *how, folder=tmp_path, backend="DiesOnce"
    )
    output = finish(process)
    assert output.count("its worker died; another one resumes it") == 1
    assert content(tmp_path / "out") == alone


@pytest.mark.slow
def test_a_recording_that_kills_its_workers_does_not_stop_the_others(recordings, alone, tmp_path):
    white = [np.full((120, 160, 3), 255, np.uint8)] * 3
    deadly = bags.write_bag(tmp_path / "deadly", white)
    process = start(
        [deadly, *recordings], tmp_path / "out", "--workers", "2",
        folder=tmp_path, backend="Deadly",
    )  # fmt: skip
    output = finish(process, code=2)
    assert "its worker died 3 times" in output
    found = content(tmp_path / "out")
    assert {name: data for name, data in found.items() if not name.startswith("deadly/")} == alone


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_is_left_and_the_same_command_resumes(recordings, alone, tmp_path, number):
    how = {"folder": tmp_path, "backend": "WaitsOnce"}
    process = start(recordings, tmp_path / "out", "--workers", "2", **how)
    wait_for_waiting_worker(tmp_path)
    workers = workers_of(process)
    assert len(workers) == 2
    process.send_signal(number)
    process.communicate(timeout=300)
    wait_for(lambda: not {pid for pid, _, _ in processes()} & {*workers}, "the workers' end")
    (tmp_path / "go_on").touch()
    output = finish(start(recordings, tmp_path / "out", "--workers", "2", **how))
    assert "resuming behind" in output
    assert content(tmp_path / "out") == alone
