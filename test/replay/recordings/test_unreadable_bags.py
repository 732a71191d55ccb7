"""Files and folders that cannot be read as recordings are refused in one line."""

import re
import shlex
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from deep_perception.replay import INSTALL
from support import bag_files, bags
from support.bags import TOPIC
from support.recordings import SUFFIX, one_line, pixels


def test_a_path_without_a_recording_is_reported_in_one_line(tmp_path):
    assert "there is no such file or folder; expected a folder of rosbag2" in one_line(
        tmp_path / "missing"
    )
    assert "there is no recording in this folder" in one_line(tmp_path)
    text = tmp_path / "notes.mcap"
    text.write_text("these are my notes, not a recording")
    assert "this file is no recording; expected a folder" in one_line(text)
    text.write_text("")
    assert "the file is empty" in one_line(text)
    database = tmp_path / "other.db3"
    sqlite3.connect(database).execute("CREATE TABLE things (id INTEGER)")
    assert "(no such table: topics)" in one_line(database)
    missing = bags.write_bag(tmp_path / "gone", bags.moving_scene(1))
    bag_files.storage_file(missing).unlink()
    assert "there is no recording in this folder" in one_line(missing)


@pytest.mark.parametrize("storage", ["mcap", "sqlite3", "file", "ros1"])
def test_a_recording_without_images_is_refused_with_its_topics(tmp_path, storage):
    suffix = SUFFIX.get(storage, "")
    empty = bags.write(tmp_path / f"empty{suffix}", [], storage=storage)
    assert "this recording contains no messages" in one_line(empty)
    other = bags.write(
        tmp_path / f"other{suffix}", bags.together(bags.words(2), bags.wheels(1)), storage=storage
    )
    assert one_line(other).endswith(
        "there is no image topic; the topics are /said (std_msgs/msg/String), "
        "/wheels (robot_msgs/msg/Wheels)"
    )


def test_a_topic_without_messages_is_named(tmp_path):
    path = bags.write(tmp_path / "bag", bags.together(bags.words(1), pixels((TOPIC, 5))),
                      storage="sqlite3")  # fmt: skip
    database = sqlite3.connect(bag_files.storage_file(path))
    with database:
        database.execute("DELETE FROM messages WHERE topic_id != 1")
    database.close()
    assert f"no image was recorded on {TOPIC} (sensor_msgs/msg/Image)" in one_line(path)


@pytest.mark.parametrize("missing", ["rosbags", "mcap"])
def test_without_the_packages_the_command_that_installs_them_is_named(tmp_path, missing):
    bags.write_bag(tmp_path / "bag", bags.moving_scene(1))
    script = (
        f"import sys, pathlib\nsys.modules[{missing!r}] = None\n"
        "from deep_perception.replay.recordings.bags import BagError, Recording\n"
        f"try: Recording(pathlib.Path({str(tmp_path / 'bag')!r}))\n"
        "except BagError as error: sys.stdout.write(str(error))\n"
    )
    said = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert f"needs the package {missing}: python -m pip install 'rosbags>=0.11'" in said.stdout


def test_the_command_installs_what_the_extra_does():
    text = (Path(__file__).resolve().parents[3] / "setup.py").read_text()
    extra = re.search(r"REPLAY = \[(.*?)\]", text).group(1)
    assert shlex.split(INSTALL)[4:] == [each.strip(' "') for each in extra.split(",")]
