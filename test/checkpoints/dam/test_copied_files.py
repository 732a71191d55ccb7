"""Files of DAM that were copied by hand, or that are not its own."""

import json
import shutil

import pytest

from deep_perception.checkpoints.catalog import DAM
from deep_perception.checkpoints.on_disk import inspect, remove, verify
from deep_perception.checkpoints.record import LOCK
from support.dam_hub_user import NAME, SHARDS, WANTED, Somebody
from support.hub_server import COMMIT
from support.hub_user import failed_in_one_line, marked


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
