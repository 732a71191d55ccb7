"""Downloads that are interrupted and resumed, and two at once."""

import signal

import pytest

from deep_perception.checkpoints.on_disk import LOCK
from support.hub_user import (
    MIB,
    NAME,
    PATIENT,
    WEIGHTS,
    failed_in_one_line,
    is_whole,
    marked,
    wait_for_bytes,
)


@marked
def test_a_download_is_resumed_after_a_closed_connection(hub, user):
    hub.cuts = [MIB, MIB // 2]
    assert user.run("fetch", NAME).returncode == 0
    assert is_whole(user.path)
    assert hub.ranges() == [None, f"bytes={MIB}-", f"bytes={MIB + MIB // 2}-"]


@marked
def test_a_download_is_resumed_after_a_reset_connection(hub, user):
    hub.cuts, hub.reset = [MIB, MIB], True
    assert user.run("fetch", NAME).returncode == 0
    assert is_whole(user.path)
    assert len(hub.ranges()) == 3


@pytest.mark.slow
@marked
def test_the_next_command_resumes_after_a_stalled_server(hub, user):
    hub.stall_at = 2 * MIB
    line = "does not answer in time; 2 MB are kept, run the same command again to resume$"
    assert failed_in_one_line(user.run("fetch", NAME), line)
    assert user.state() == "partial"
    assert not (user.path / WEIGHTS).exists()
    assert not (user.path / LOCK).exists()
    hub.stall_at = None
    assert user.run("fetch", NAME).returncode == 0
    assert is_whole(user.path)
    assert hub.ranges()[-1] == f"bytes={2 * MIB}-"
    assert user.parts() == []


@marked
def test_a_server_without_ranges_starts_over(hub, user):
    hub.cuts, hub.no_ranges = [MIB], True
    assert user.run("fetch", NAME).returncode == 0
    assert is_whole(user.path)


@pytest.mark.slow
@marked
def test_a_corrupt_partial_file_is_downloaded_again(hub, user):
    hub.cuts, hub.storage_statuses = [MIB], [0, 503]
    assert failed_in_one_line(user.run("fetch", NAME), r"\(503\).*; 1 MB are kept")
    (part,) = [part for part in user.parts() if WEIGHTS in part.name]
    part.write_bytes(b"\0" * part.stat().st_size)
    assert user.run("fetch", NAME).returncode == 0
    assert is_whole(user.path)
    assert hub.ranges()[-1] is None


@marked
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_command_resumes_after_a_killed_one(hub, user, how):
    # The file's last bytes may be in the process's buffer.
    hub.stall_at = MIB // 2 + (1 << 16)
    process = user.start("fetch", NAME, env=PATIENT)
    wait_for_bytes(user, MIB // 2)
    process.send_signal(how)
    process.communicate()
    if how == signal.SIGINT:
        assert failed_in_one_line(process, "interrupted; .* are kept, run the same command")
    assert user.state() == "partial"
    assert not (user.path / WEIGHTS).exists()
    hub.stall_at = None
    assert user.run("fetch", NAME).returncode == 0
    assert is_whole(user.path)
    assert int(hub.ranges()[-1].removeprefix("bytes=").removesuffix("-")) >= MIB // 2


@pytest.mark.slow
@marked
def test_two_at_once(hub, user):
    hub.stall_at = MIB
    first = user.start("fetch", NAME, env=PATIENT)
    wait_for_bytes(user, 1)
    assert failed_in_one_line(user.run("fetch", NAME), "another process is downloading this")
    hub.resumed.set()
    first.communicate()
    assert first.returncode == 0
    assert is_whole(user.path)
