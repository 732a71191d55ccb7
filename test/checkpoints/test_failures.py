"""Downloads that fail: the hub refuses, the network is dead, or the disk is full."""

import contextlib
import socket
import subprocess
import time

import pytest

from support.hub_user import (
    MIB,
    NAME,
    PATIENT,
    WEIGHTS,
    User,
    failed_in_one_line,
    is_whole,
    marked,
    wait_for_bytes,
)

ANSWERS = {
    "missing": (401, {"X-Error-Code": "RepoNotFound"}, r"\(401\): it does not exist there"),
    "missing, with a token": (404, {"X-Error-Code": "RepoNotFound"}, r"\(404\)"),
    "token": (
        401,
        {"X-Error-Message": "Invalid credentials in Authorization header"},
        r"\(401\).*HF_TOKEN is wrong",
    ),
    "forbidden": (403, {}, r"\(403\)"),
    "gated": (403, {"X-Error-Code": "GatedRepo"}, "is gated; accept its terms at .* set HF_TOKEN"),
    "nothing": (404, {}, r"\(404\)"),
    "revision": (404, {"X-Error-Code": "RevisionNotFound"}, "but no revision"),
    "broken": (500, {}, r"error \(500\); try again later"),
}


@pytest.mark.slow
@marked
@pytest.mark.parametrize("case", ANSWERS)
def test_refusals(hub, user, case):
    hub.status, hub.headers, words = ANSWERS[case]
    # The first request is for a file of a pinned model, and for the API otherwise.
    revision = () if case in ("forbidden", "broken", "nothing") else ("--revision", "main")
    assert failed_in_one_line(user.run("fetch", NAME, *revision), words)
    assert not user.path.exists()


@pytest.mark.slow
@marked
def test_an_unknown_revision_and_a_repository_without_weights(hub, user):
    assert failed_in_one_line(user.run("fetch", NAME, "--revision", "v9"), "no revision v9")
    del hub.files[WEIGHTS]
    done = user.run("fetch", NAME, "--revision", "main")
    assert failed_in_one_line(done, "has no model.safetensors at revision main")
    assert failed_in_one_line(user.run("fetch", NAME), r"\(404\)")


@pytest.mark.slow
@marked
@pytest.mark.parametrize("revision", [(), ("--revision", "main")])
def test_a_silent_hub(hub, user, revision):
    hub.silent = True
    start = time.monotonic()
    assert failed_in_one_line(user.run("fetch", NAME, *revision), "does not answer in time$")
    assert time.monotonic() - start < 8


@marked
@pytest.mark.parametrize("url", ["dead port", "http://no.such.host.invalid"])
def test_a_dead_network(tmp_path, url):
    if url == "dead port":
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            url = f"http://127.0.0.1:{taken.getsockname()[1]}"
    done = User(url, tmp_path).run("fetch", NAME)
    assert failed_in_one_line(done, f"{url} cannot be reached")


@marked
def test_offline_mode(user):
    done = user.run("fetch", NAME, env={"HF_HUB_OFFLINE": "1"})
    assert failed_in_one_line(done, "HF_HUB_OFFLINE is set")


# -- the disk ------------------------------------------------------------------------------------


@contextlib.contextmanager
def tiny_disk(path, size):
    path.mkdir()
    done = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", str(path)],
        capture_output=True,
        check=False,
    )
    if done.returncode:
        pytest.skip("a tmpfs cannot be mounted here (not root)")
    try:
        yield
    finally:
        subprocess.run(["umount", str(path)], check=True)


@marked
def test_a_disk_that_is_too_small(hub, user):
    with tiny_disk(user.folder, MIB):
        assert failed_in_one_line(user.run("fetch", NAME), "1 MB free and 3 MB are needed")
        assert hub.requests == []
        assert list(user.folder.iterdir()) == []


@pytest.mark.slow
@marked
def test_a_disk_that_fills_up_during_the_download(hub, user):
    with tiny_disk(user.folder, 4 * MIB):
        hub.stall_at = MIB + (1 << 16)
        process = user.start("fetch", NAME, env=PATIENT)
        wait_for_bytes(user, MIB)
        (user.folder / "filler").write_bytes(b"\0" * (3 * MIB // 2))
        hub.resumed.set()
        process.communicate()
        assert failed_in_one_line(process, "the disk is full; .* are kept")
        assert user.state() == "partial"
        (user.folder / "filler").unlink()
        assert user.run("fetch", NAME).returncode == 0
        assert is_whole(user.path)


@pytest.mark.slow
@marked
def test_a_file_system_with_a_size_limit(hub, user):
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({MIB}, {MIB}))"
    done = user.run("fetch", NAME, before=limit)
    assert failed_in_one_line(done, "allows no file of this size; 1 MB are kept")
    assert user.run("fetch", NAME).returncode == 0
    assert is_whole(user.path)


@marked
def test_a_folder_that_cannot_be_written(user):
    user.folder.write_text("a file, not a folder")
    assert failed_in_one_line(user.run("fetch", NAME), "checkpoints/.*: (Not a directory|File exi)")
