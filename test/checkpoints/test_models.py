"""`deep_perception models` as a user runs it, against a server that imitates the hub."""

import contextlib
import fcntl
import hashlib
import json
import os
import pty
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import termios
import time

import pytest

from deep_perception.checkpoints import catalog
from deep_perception.checkpoints.catalog import CATALOGUE, ModelError, find_model
from deep_perception.checkpoints.on_disk import LOCK, inspect, remove, verify
from support.hub_server import COMMIT, Hub
from support.hub_user import (
    BYTES,
    FILES,
    MIB,
    NAME,
    OURS,
    ROOT,
    WEIGHTS,
    User,
    command,
    environment,
    failed_in_one_line,
    marked,
    pinned,
)

PATIENCE_S = 60
# The hub's library waits for a server that pauses.
PATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": str(PATIENCE_S)}


@pytest.fixture
def hub():
    with Hub(FILES) as server:
        yield server


@pytest.fixture
def user(hub, tmp_path):
    return User(hub.url, tmp_path)


def is_whole(path):
    return all((path / name).read_bytes() == FILES[name] for name in OURS)


# -- the table -----------------------------------------------------------------------------------


def test_every_pin_has_the_right_form():
    assert len({model.name for model in CATALOGUE}) == len(CATALOGUE) == 5
    pinned_ones = [model for model in CATALOGUE if model.files]
    assert len(pinned_ones) == 4
    for model in pinned_ones:
        assert re.fullmatch("[0-9a-f]{40}", model.revision)
        assert [file.name for file in model.files] == list(OURS)
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in model.files)
    assert len({file.sha256 for model in CATALOGUE for file in model.files}) == 4 * 2 + 2


@pytest.mark.parametrize("text", ["tiny", NAME, f"facebook/{NAME}"])
def test_names(text):
    assert find_model(text).name == NAME


def test_the_error_for_an_unknown_name_suggests_one():
    with pytest.raises(ModelError, match=r"did you mean sam2\.1-hiera-tiny"):
        find_model("sam2.1-heira-tiny")
    with pytest.raises(ModelError, match=r"the models are sam2\.1-hiera-tiny, "):
        find_model("../..")


@pytest.mark.parametrize(
    ("checkpoint", "size"),
    [
        ("checkpoints/sam2.1_hiera_large.pt", "large"),
        ("sam2.1_hiera_b+.yaml", "base-plus"),
        ("checkpoints/sam2.1-hiera-base-plus", "base-plus"),
        ("facebook/sam2-hiera-small", "small"),
        ("/mnt/large/sam2.1_hiera_tiny.pt", "tiny"),
        ("", "tiny"),
    ],
)
def test_the_command_for_a_missing_checkpoint(checkpoint, size):
    wanted = f"deep_perception models fetch sam2.1-hiera-{size}"
    assert catalog.fetch_command(checkpoint) == wanted


def test_the_true_catalogue_is_listed(tmp_path):
    user = User("http://127.0.0.1:1", tmp_path)
    done = user.run("list", catalogue=False)
    head, *rows = done.out.splitlines()
    assert head.split() == ["NAME", "SIZE", "ON", "DISK", "LICENCE", "WHERE"]
    assert [row.split()[3] for row in rows[:4]] == ["absent"] * 4
    assert rows[3].split()[:3] == ["sam2.1-hiera-large", "898", "MB"]
    assert list(tmp_path.iterdir()) == []


def test_listing_loads_no_hub_library(tmp_path):
    code = "from deep_perception.cli.main import main; import sys; main(['models', 'list']); "
    code += "sys.exit(any(n in sys.modules for n in ('huggingface_hub', 'httpx2', 'numpy')))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment("", tmp_path),
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0


# -- on disk, without a hub ----------------------------------------------------------------------


def put(path, files):
    path.mkdir(parents=True)
    for name in files:
        (path / name).write_bytes(FILES[name])


def test_states(tmp_path):
    model, path = pinned(), tmp_path / NAME
    assert inspect(model, tmp_path).state == "absent"
    put(path, ["config.json"])
    assert inspect(model, tmp_path).state == "partial"
    shutil.rmtree(path)
    put(path, OURS)
    assert inspect(model, tmp_path).state == "unverified"
    (path / WEIGHTS).write_bytes(BYTES[:-1])
    found = inspect(model, tmp_path)
    assert found.state == "broken"
    assert "model.safetensors has 3 MB (3145727 bytes) instead of 3145728" in found.problems


@pytest.mark.parametrize("text", ["", "[]", "{}", '{"revision": 1, "files": 2}', '{"files": []}'])
def test_an_unreadable_record_is_broken(tmp_path, text):
    put(tmp_path / NAME, OURS)
    (tmp_path / NAME / LOCK).write_text(text)
    assert inspect(pinned(), tmp_path).state == "broken"


def test_only_verify_finds_a_changed_byte(tmp_path):
    put(tmp_path / NAME, OURS)
    (tmp_path / NAME / WEIGHTS).write_bytes(BYTES[:-1] + b"\0")
    assert inspect(pinned(), tmp_path).state == "unverified"
    assert verify(pinned(), tmp_path).state == "broken"


def test_copied_files_need_no_network(tmp_path):
    user = User("http://127.0.0.1:1", tmp_path)
    put(user.path, OURS)
    assert user.run("fetch", NAME).returncode == 0
    assert user.state() == "complete"
    assert json.loads((user.path / LOCK).read_text())["files"][WEIGHTS]["size"] == len(BYTES)


def test_without_the_library_the_error_names_the_command_to_install_it(tmp_path):
    user = User("http://127.0.0.1:1", tmp_path)
    (tmp_path / "without").mkdir()
    (tmp_path / "without" / "huggingface_hub.py").write_text("raise ImportError('none')")
    env = {"PYTHONPATH": f"{tmp_path / 'without'}{os.pathsep}{ROOT}"}
    done = user.run("fetch", NAME, env=env)
    assert failed_in_one_line(done, "python -m pip install 'huggingface_hub")
    assert not user.folder.exists()


def test_verify_of_an_absent_model(tmp_path):
    user = User("http://127.0.0.1:1", tmp_path)
    assert user.run("verify").out == "checkpoints: there is no model\n"
    done = user.run("verify", "tiny")
    assert failed_in_one_line(
        done, f"absent; download it with: deep_perception models fetch {NAME}$"
    )


# -- remove --------------------------------------------------------------------------------------


def test_remove_asks_or_refuses(tmp_path):
    user = User("http://127.0.0.1:1", tmp_path)
    assert failed_in_one_line(user.run("remove", NAME), "nothing to remove")
    put(user.path, OURS)
    assert failed_in_one_line(user.run("remove", NAME), "add --yes")
    assert is_whole(user.path)
    assert user.run("remove", NAME, "--yes").out == f"checkpoints/{NAME}: 3 MB removed\n"
    assert list(user.folder.iterdir()) == []


@pytest.mark.parametrize(("answer", "gone"), [(b"n\n", False), (b"\n", False), (b"y\n", True)])
def test_remove_asks_on_a_terminal(tmp_path, answer, gone):
    user = User("http://127.0.0.1:1", tmp_path)
    put(user.path, OURS)
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("remove", NAME),
        cwd=tmp_path,
        env=environment("", tmp_path),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    os.write(ours, answer)
    _, err = process.communicate(timeout=30)
    os.close(ours)
    os.close(theirs)
    assert err.startswith(b"Delete checkpoints/sam2.1-hiera-tiny (3 MB)? [y/N] ")
    assert (process.returncode == 0) == gone == (not user.path.exists())


def test_remove_leaves_the_files_of_others(tmp_path):
    put(tmp_path / NAME, OURS)
    (tmp_path / NAME / "notes.txt").write_text("mine")
    (tmp_path / NAME / "config.json.part").mkdir()
    done = remove(pinned(), tmp_path)
    assert done.left == ("config.json.part", "notes.txt")
    assert sorted(path.name for path in (tmp_path / NAME).iterdir()) == list(done.left)


def test_remove_follows_no_link(tmp_path):
    outside = tmp_path / "outside"
    put(outside, OURS)
    folder = tmp_path / "checkpoints"
    folder.mkdir()
    (folder / NAME).symlink_to(outside, target_is_directory=True)
    assert remove(pinned(), folder).was_link
    assert is_whole(outside)
    assert list(folder.iterdir()) == []

    (folder / NAME).mkdir()
    (folder / NAME / WEIGHTS).symlink_to(outside / WEIGHTS)
    (folder / NAME / "config.json").symlink_to(outside, target_is_directory=True)
    remove(pinned(), folder)
    assert is_whole(outside)
    assert list(folder.iterdir()) == []


# -- fetch ---------------------------------------------------------------------------------------


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


def wait_for_bytes(user, least):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for part in user.parts():
            if WEIGHTS in part.name and part.stat().st_size >= least:
                return
        time.sleep(0.02)
    raise AssertionError("the download makes no progress")


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
