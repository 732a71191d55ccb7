"""The managed DAM server ends with its manager, however that one ends."""

import os
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from support import dam_stand_in
from support.dam_place import PATIENCE_S, lives, ready, until

ROOT = Path(__file__).parents[3]
pytestmark = pytest.mark.skipif(os.name == "nt", reason="signals and process ids as on Linux")


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
