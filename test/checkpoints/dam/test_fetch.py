"""The download of DAM, which has sub-folders and no pin, from a server that imitates the hub."""

import hashlib
import json
import signal
import time

import pytest

from deep_perception.checkpoints.record import LOCK
from support.dam_hub_user import NAME, SHARDS, WANTED
from support.hub_server import COMMIT
from support.hub_user import MIB, failed_in_one_line, marked


@marked
def test_fetch_list_verify_remove(hub, user):
    done = user.fetch()
    assert done.returncode == 0, done.err
    assert done.out == (
        f"{NAME}: 3 MB in checkpoints/{NAME}, every checksum matches that of the hub; "
        "there is no pin (revision 1f1f1f1)\n"
    )
    assert user.files() == WANTED
    record = json.loads((user.path / LOCK).read_text())
    assert (record["revision"], record["checked_against"]) == (COMMIT, "hub")
    assert record["files"].keys() == WANTED.keys()
    for name, file in record["files"].items():
        assert file["sha256"] == hashlib.sha256(WANTED[name]).hexdigest()

    assert user.state() == "complete"
    assert user.run("verify").out.startswith(f"{NAME}: every checksum matches that of the hub")
    before = len(hub.requests)
    assert user.fetch().returncode == 0  # All files are there, so no request is sent.
    assert len(hub.requests) == before

    (user.path / "llava_llama.py").write_bytes(b"class LlavaLlamaModel: evil\n")
    assert user.state() == "complete"  # The size is the same, and only verify reads the file.
    assert failed_in_one_line(user.run("verify"), "broken .llava_llama.py differs from")
    (user.path / SHARDS[0]).unlink()
    assert user.state() == "broken"

    assert user.run("remove", "dam", "--yes").out == f"checkpoints/{NAME}: 2 MB removed\n"
    assert list(user.folder.iterdir()) == []


@pytest.mark.slow
@marked
def test_a_missing_file_is_downloaded_from_the_recorded_commit(hub, user):
    assert user.fetch().returncode == 0
    (user.path / "llava_llama.py").unlink()
    # The hub has a new commit. The old one, which serves as the pin, still has the old bytes.
    old, hub.commit = hub.commit, "2e" * 20
    assert failed_in_one_line(user.run("fetch", "dam"), f"no revision {old}")
    hub.commit = old
    hub.files["llava_llama.py"] = b"class Changed: pass\n"
    hub.requests.clear()
    done = user.run("fetch", "dam")
    assert done.returncode == 2, "other bytes at the same commit"
    hub.files["llava_llama.py"] = WANTED["llava_llama.py"]
    assert user.run("fetch", "dam").returncode == 0
    assert user.files() == WANTED
    assert not [path for _, _, path, _ in hub.requests if path.startswith("/api/models")]
    assert hub.seen("storage") == []  # The weights were not downloaded again.


@pytest.mark.slow
@marked
def test_another_revision_removes_the_code_of_the_old_one(hub, user):
    assert user.fetch().returncode == 0
    (user.path / "notes.txt").write_text("mine")
    hub.commit = "2e" * 20
    del hub.files["llava_llama.py"], hub.files["context_provider/config.json"]
    hub.files["code/modeling.py"] = b"class New: pass\n"
    done = user.fetch("--revision", "main")
    assert done.returncode == 0, done.err
    wanted = {name: data for name, data in hub.files.items() if name in WANTED}
    assert user.files() == wanted | {"code/modeling.py": b"class New: pass\n", "notes.txt": b"mine"}
    assert user.run("verify").returncode == 0
    assert json.loads((user.path / LOCK).read_text())["revision"] == "2e" * 20


@marked
def test_a_command_resumes_after_a_killed_one(hub, user):
    hub.stall_at = MIB // 2
    patient = {"HF_HUB_DOWNLOAD_TIMEOUT": "60"}
    process = user.start("fetch", "dam", "--accept-licence", env=patient)
    ends_at = time.monotonic() + 60
    while not any(part.stat().st_size > 200_000 for part in user.parts()):
        assert time.monotonic() < ends_at
        time.sleep(0.01)
    process.send_signal(signal.SIGKILL)
    process.communicate()
    assert user.state() == "partial"
    there = sum(part.stat().st_size for part in user.parts())
    hub.stall_at = None
    hub.requests.clear()
    done = user.fetch()
    assert done.returncode == 0, done.err
    assert user.files() == WANTED
    assert user.parts() == []
    assert [value for value in hub.ranges() if value], f"{there} bytes were not resumed"


@marked
def test_a_failure_leaves_no_empty_folders(hub, user):
    hub.storage_statuses = [503] * 20
    assert failed_in_one_line(user.fetch_quietly(), r"\(503\)")
    left = [entry for entry in user.path.rglob("*") if entry.is_dir() and not any(entry.iterdir())]
    assert left == []


@pytest.mark.slow
@marked
@pytest.mark.parametrize(
    "name",
    ["../evil.py", "/etc/evil.py", "a/../../evil.py", "a\\..\\evil.py", LOCK, "x/C:evil.py"],
)
def test_file_names_outside_of_the_folder_are_refused(hub, user, name):
    hub.files[name] = b"print('evil')\n"
    done = user.fetch_quietly()
    assert failed_in_one_line(done, "the hub reports a file .*, whose name is not allowed")
    assert not user.folder.exists() or list(user.folder.iterdir()) == []


@marked
def test_a_repository_without_code(hub, user):
    del hub.files["llava_llama.py"]
    assert failed_in_one_line(user.fetch_quietly(), r"has no \*\.py at revision main")
