"""Several recordings at once: the same results, also when workers die."""

import signal

import numpy as np
import pytest

from support import bags
from support.replay_workers import (
    finish,
    kill,
    one_after_the_other,
    processes,
    scenes_of,
    start,
    three,
    wait_for,
)
from support.replays import content


@pytest.fixture(scope="module")
def recordings(tmp_path_factory):
    return three(tmp_path_factory.mktemp("recordings"))


@pytest.fixture(scope="module")
def alone(recordings, tmp_path_factory):
    found = one_after_the_other(recordings, tmp_path_factory.mktemp("alone"))
    assert {name.split("/")[1] for name in found} >= {"scenes.jsonl", "report.html", "bag"}
    return found


def workers_of(process):
    return [
        pid
        for pid, parent, command in processes()
        if parent == process.pid and "spawn_main" in command
    ]


def test_two_workers_make_what_one_makes(recordings, alone, tmp_path):
    said = finish(start(recordings, tmp_path / "out", "--workers", "2", folder=tmp_path))
    assert content(tmp_path / "out") == alone
    for recording in recordings:
        assert f"{recording.name}: " in said


@pytest.mark.slow
@pytest.mark.parametrize("how", [(), ("--overwrite",)])
def test_what_a_killed_worker_was_at_is_gone_on_with(recordings, alone, tmp_path, how):
    process = start(recordings, tmp_path / "out", "--workers", "2", *how, folder=tmp_path)
    wait_for(lambda: scenes_of(tmp_path / "out" / "one") >= 3, "the first scenes")
    kill(workers_of(process)[0])
    said = finish(process)
    assert said.count("its worker died; another one goes on with it") == 1
    assert content(tmp_path / "out") == alone


@pytest.mark.slow
def test_a_recording_that_kills_its_workers_costs_no_other(recordings, alone, tmp_path):
    white = [np.full((120, 160, 3), 255, np.uint8)] * 3
    deadly = bags.write_bag(tmp_path / "deadly", white)
    process = start(
        [deadly, *recordings], tmp_path / "out", "--workers", "2",
        folder=tmp_path, backend="Deadly",
    )  # fmt: skip
    said = finish(process, code=2)
    assert "its worker died 3 times" in said
    found = content(tmp_path / "out")
    assert {name: data for name, data in found.items() if not name.startswith("deadly/")} == alone


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_no_worker_is_left_and_the_same_command_goes_on(recordings, alone, tmp_path, number):
    process = start(recordings, tmp_path / "out", "--workers", "2", folder=tmp_path)
    # Enough for more than a second, after which it is noted how far it is.
    wait_for(lambda: scenes_of(tmp_path / "out" / "one") >= 14, "the first scenes")
    workers = workers_of(process)
    assert len(workers) == 2
    process.send_signal(number)
    process.communicate(timeout=60)
    wait_for(lambda: not {pid for pid, _, _ in processes()} & {*workers}, "the workers' end")
    said = finish(start(recordings, tmp_path / "out", "--workers", "2", folder=tmp_path))
    assert "going on behind" in said
    assert content(tmp_path / "out") == alone
