"""`deep_perception models` with DAM: a licence to accept, sub-folders, and no pin.

The tests use the real catalogue and a server that imitates the hub.
"""

import hashlib
import json
import os
import pty
import shutil
import signal
import subprocess
import time

import pytest

from deep_perception.checkpoints.catalog import DAM, find_model
from deep_perception.checkpoints.on_disk import inspect, remove, verify
from deep_perception.checkpoints.record import LOCK
from support.hub_server import COMMIT, Hub
from support.hub_user import BYTES, MIB, User, command, environment, failed_in_one_line, marked

NAME = "DAM-3B-Self-Contained"
SHARDS = ("llm/model-00001-of-00002.safetensors", "llm/model-00002-of-00002.safetensors")
# The names are those of DAM's files, the contents are not.
WANTED = {
    "LICENSE": b"NVIDIA Noncommercial License\n",
    "README.md": b"# DAM\n",
    "config.json": b'{"model_type": "llava_llama"}\n',
    "llava_llama.py": b"class LlavaLlamaModel: pass\n",
    "context_provider/config.json": b"{}\n",
    "context_provider/model.safetensors": BYTES[:40_000],
    "llm/config.json": b'{"model_type": "llama"}\n',
    "llm/model.safetensors.index.json": b'{"weight_map": {}}\n',
    "llm/tokenizer.model": b"\x0a\x0e",
    SHARDS[0]: BYTES[:MIB],
    SHARDS[1]: BYTES[MIB:],
    "mm_projector/model.safetensors": BYTES[:30_000],
    "vision_tower/model.safetensors": BYTES[:50_000],
}
FILES = WANTED | {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "assets/demo.gif": b"GIF89a",
    "llm/pytorch_model.bin": b"not wanted: a pickle",
}


@pytest.fixture
def hub():
    with Hub(FILES) as server:
        yield server


@pytest.fixture
def user(hub, tmp_path):
    return Somebody(hub.url, tmp_path)


class Somebody(User):
    """A user of the real catalogue."""

    def __init__(self, url, tmp_path):
        super().__init__(url, tmp_path)
        self.path = self.folder / NAME

    def start(self, *arguments, **more):
        return super().start(*arguments, catalogue=False, **more)

    def fetch(self, *arguments, **more):
        return self.run("fetch", "dam", "--accept-licence", *arguments, **more)

    def fetch_quietly(self):
        """Fetch with the licence accepted, and remove its text from the output."""
        done = self.fetch()
        assert done.err.startswith(DAM.terms)
        done.err = done.err.removeprefix(DAM.terms + "\n")
        return done

    def state(self):
        (found,) = [
            item for item in json.loads(self.run("list", "--json").out) if item["name"] == NAME
        ]
        return found["state"]

    def parts(self):
        return sorted(self.path.rglob("*.part"))

    def files(self):
        found = {
            entry.relative_to(self.path).as_posix(): entry.read_bytes()
            for entry in self.path.rglob("*")
            if entry.is_file()
        }
        return {name: data for name, data in found.items() if name not in (LOCK, ".fetching.lock")}


@pytest.mark.parametrize("text", ["dam", NAME, f"nvidia/{NAME}"])
def test_names(text):
    assert find_model(text) is DAM


def test_the_list_shows_the_licence_of_an_absent_model(tmp_path):
    rows = Somebody("http://127.0.0.1:1", tmp_path).run("list").out.splitlines()
    row = next(row for row in rows if row.startswith(NAME))
    assert row.split()[1:] == (
        f"about 7.1 GB absent NVIDIA non-commercial checkpoints/{NAME}".split()
    )


# -- the licence ---------------------------------------------------------------------------------


def test_without_acceptance_and_without_a_terminal_no_request_is_sent(hub, user):
    done = user.run("fetch", "dam")
    assert done.returncode == 2
    *licence, line = done.err.splitlines()
    assert 3 <= len(licence) <= 4
    assert "never commercially" in done.err
    assert licence[-1] == f"https://huggingface.co/nvidia/{NAME}/blob/main/LICENSE"
    assert line == (
        f"deep_perception: {NAME}: there is no terminal to ask for confirmation; add "
        "--accept-licence if you accept its licence"
    )
    assert hub.requests == []
    assert not user.folder.exists()


def on_a_terminal(user, answer):
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        command("fetch", "dam", catalogue=False),
        cwd=user.home,
        env=environment(user.url, user.home),
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    os.write(ours, answer)
    out, err = process.communicate(timeout=60)
    os.close(ours)
    os.close(theirs)
    return process.returncode, out, err


@pytest.mark.slow
@pytest.mark.parametrize("answer", [b"n\n", b"\n", b"\x04"])
def test_a_licence_that_is_not_accepted(hub, user, answer):
    status, out, err = on_a_terminal(user, answer)
    assert (status, out) == (2, "")
    assert err.index("NVIDIA Noncommercial License") < err.index("accept this licence? [y/N]")
    assert err.endswith(f"{NAME}: its licence was not accepted, nothing was downloaded\n")
    assert hub.requests == []


@marked
def test_an_accepted_licence_is_not_shown_again(user):
    status, _, err = on_a_terminal(user, b"y\n")
    assert status == 0, err
    assert user.files() == WANTED
    done = user.run("fetch", "dam")
    assert (done.returncode, done.err) == (0, "")


# -- fetch ---------------------------------------------------------------------------------------


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


# -- by hand -------------------------------------------------------------------------------------


def put(path, files=WANTED):
    for name, data in files.items():
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).write_bytes(data)


def test_copied_files_without_a_record_are_unverified(tmp_path):
    user = Somebody("http://127.0.0.1:1", tmp_path)
    put(user.path)
    assert inspect(DAM, user.folder).state == "unverified"
    assert failed_in_one_line(user.run("verify"), "unverified .its checksums are unknown")
    (user.path / "llava_llama.py").unlink()
    assert inspect(DAM, user.folder).state == "partial"
    done = user.run("remove", "dam", "--yes")  # Without a record, the files may be the user's.
    assert "files of others are left" in done.out
    assert (user.path / SHARDS[0]).exists()


@marked
def test_copied_files_are_checked_and_not_downloaded_again(hub, user):
    put(user.path)
    (user.path / "llm/config.json").write_bytes(b"{}")
    done = user.fetch()
    assert done.returncode == 0, done.err
    assert user.files() == WANTED
    assert hub.seen("storage") == []
    assert user.state() == "complete"


@pytest.mark.slow
@marked
def test_a_copied_folder_needs_no_network(hub, user, tmp_path):
    assert user.fetch().returncode == 0
    robot = Somebody("http://127.0.0.1:1", tmp_path / "robot")
    robot.folder.mkdir(parents=True)
    shutil.copytree(user.path, robot.path)
    assert robot.run("verify").returncode == 0
    assert robot.run("fetch", "dam").returncode == 0
    assert robot.state() == "complete"


def test_remove_follows_no_link_and_no_name_outside_of_the_folder(tmp_path):
    outside, path = tmp_path / "outside", tmp_path / NAME
    put(outside, {"config.json": b"{}", "model.safetensors": b"weights of others"})
    path.mkdir()
    (path / "llm").symlink_to(outside, target_is_directory=True)
    names = ["llm/config.json", "llm/model.safetensors", "../outside/config.json"]
    record = {"revision": COMMIT, "checked_against": "hub"}
    for chosen in (names[:2], names):
        files = {name: {"size": 2, "sha256": "0" * 64} for name in chosen}
        (path / LOCK).write_text(json.dumps(record | {"files": files}))
        remove(DAM, tmp_path)
        assert len(list(outside.iterdir())) == 2
    assert verify(DAM, tmp_path).state in ("absent", "partial", "unverified")
