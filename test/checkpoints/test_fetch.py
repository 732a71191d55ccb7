"""`deep_perception models fetch` as a user runs it, against a server that imitates the hub."""

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import struct
import subprocess
import termios

import pytest

from deep_perception.checkpoints.on_disk import LOCK
from support.hub_server import COMMIT
from support.hub_user import (
    BYTES,
    FILES,
    MIB,
    NAME,
    OURS,
    WEIGHTS,
    command,
    environment,
    failed_in_one_line,
    is_whole,
    marked,
)


@marked
def test_fetch_list_verify_remove(hub, user):
    done = user.run("fetch", "tiny")
    assert done.err == ""
    assert re.fullmatch(
        rf"{NAME}: 3 MB in checkpoints/{NAME}, every checksum matches \(revision 1f1f1f1\)\n",
        done.out,
    )
    assert is_whole(user.path)
    assert sorted(path.name for path in user.path.iterdir() if path.name[0] != ".") == sorted(
        [*OURS, LOCK]
    )
    record = json.loads((user.path / LOCK).read_text())
    assert record["revision"] == COMMIT
    assert record["checked_against"] == "pin"
    assert record["files"][WEIGHTS]["sha256"] == hashlib.sha256(BYTES).hexdigest()
    # A pinned model needs no API, so that a plain web server could serve it.
    assert not [path for _, _, path, _ in hub.seen("hub") if path.startswith("/api/models")]

    before = len(hub.requests)
    assert user.run("fetch", "tiny").returncode == 0
    assert len(hub.requests) == before
    assert user.state() == "complete"
    assert user.run("verify").out == f"{NAME}: every checksum matches (revision 1f1f1f1)\n"
    (user.path / "config.json").write_bytes(b'{"model_type": "sam2_vidEo"}\n')
    assert failed_in_one_line(user.run("verify"), "broken .config.json differs from the published")
    (user.path / "config.json").unlink()
    assert user.state() == "broken"
    assert user.run("fetch", "tiny").returncode == 0  # Only the missing file is downloaded.
    assert len(hub.seen("storage")) == 1
    assert is_whole(user.path)
    assert user.run("remove", NAME, "--yes").returncode == 0
    assert list(user.folder.iterdir()) == []


@pytest.mark.slow
@marked
def test_another_revision_is_compared_with_the_checksums_of_the_hub(hub, user):
    done = user.run("fetch", NAME, "--revision", "main", catalogue=False)
    assert done.returncode == 0, done.err
    assert is_whole(user.path)
    record = json.loads((user.path / LOCK).read_text())
    assert (record["revision"], record["checked_against"]) == (COMMIT, "hub")
    for name in OURS:
        assert record["files"][name]["sha256"] == hashlib.sha256(FILES[name]).hexdigest()
    assert user.run("verify", catalogue=False).returncode == 0
    (user.path / WEIGHTS).write_bytes(BYTES[::-1])
    assert failed_in_one_line(user.run("verify", catalogue=False), "differs from the publ")


@pytest.mark.slow
@marked
def test_a_complete_model_stays_until_the_new_one_is_complete(hub, user):
    assert user.run("fetch", NAME).returncode == 0
    hub.commit = "2e" * 20
    hub.files[WEIGHTS] = BYTES[::-1]
    hub.cuts, hub.storage_statuses = [MIB], [0, 503]
    assert failed_in_one_line(
        user.run("fetch", NAME, "--revision", "main"), r"\(503\).*; 1 MB are kept"
    )
    assert is_whole(user.path)
    assert user.state() == "complete"
    assert user.run("fetch", NAME, "--revision", "main").returncode == 0
    assert (user.path / WEIGHTS).read_bytes() == BYTES[::-1]
    assert user.run("verify").returncode == 0
    assert user.parts() == []


@pytest.mark.slow
@marked
def test_another_checksum_than_the_pinned_one_is_refused_before_the_download(hub, user):
    hub.files[WEIGHTS] = BYTES[::-1]
    assert failed_in_one_line(user.run("fetch", NAME), "another checksum .* nothing was downloaded")
    assert hub.seen("storage") == []
    assert user.state() == "partial"


@marked
def test_the_token_goes_to_the_hub_and_not_to_the_storage(hub, user):
    assert user.run("fetch", NAME, env={"HF_TOKEN": "hf_secret"}).returncode == 0
    assert {h.get("Authorization") for _, _, _, h in hub.seen("hub")} == {"Bearer hf_secret"}
    (request,) = hub.seen("storage")
    assert not [value for value in request[3].values() if "hf_secret" in value]


@pytest.mark.slow
@marked
@pytest.mark.parametrize(
    ("name", "revision"),
    [(WEIGHTS, ()), ("config.json", ()), ("config.json", ("--revision", "main"))],
)
def test_a_corrupt_file_is_deleted(hub, user, name, revision):
    true = FILES[name]
    hub.flipped[name] = true[:10] + bytes([true[10] ^ 1]) + true[11:]
    done = user.run("fetch", NAME, *revision)
    assert failed_in_one_line(done, rf"/{name}: the file does not match its checksum")
    assert not (user.path / name).exists()
    assert not [part for part in user.parts() if part.name.startswith(name)]
    hub.flipped.clear()
    assert user.run("fetch", NAME, *revision).returncode == 0
    assert is_whole(user.path)


@marked
def test_progress_on_a_terminal_only(hub, user):
    hub.rate = 4 * MIB
    ours, theirs = pty.openpty()
    fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 100, 0, 0))
    process = subprocess.Popen(
        command("fetch", NAME),
        cwd=user.home,
        env=environment(hub.url, user.home),
        stderr=theirs,
        stdout=subprocess.DEVNULL,
    )
    assert process.wait(30) == 0
    os.close(theirs)
    shown = b""
    with contextlib.suppress(OSError):  # Reading from a closed terminal raises it.
        while block := os.read(ours, 1 << 16):
            shown += block
    os.close(ours)
    assert re.search(rf"{NAME}/{WEIGHTS}: +[1-9]\d%.*MB/s", shown.decode())
