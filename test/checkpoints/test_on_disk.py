"""Checkpoints on the disk, without a hub: their states, and their removal."""

import json
import os
import pty
import shutil
import subprocess

import pytest

from deep_perception.checkpoints.on_disk import LOCK, inspect, remove, verify
from support.hub_user import (
    BYTES,
    NAME,
    OURS,
    ROOT,
    WEIGHTS,
    User,
    command,
    environment,
    failed_in_one_line,
    is_whole,
    pinned,
    put,
)


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
