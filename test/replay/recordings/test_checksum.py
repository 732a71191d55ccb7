"""A recording that was changed in its place is another one; one that was moved is not."""

import shutil

import pytest

from deep_perception.replay.events import Notice
from deep_perception.replay.journal import JournalError
from deep_perception.replay.recordings.bags import Recording
from deep_perception.replay.recordings.checksum import AT_ENDS, BETWEEN, BLOCK, checksum
from deep_perception.replay.recordings.choice import Choice
from support import bag_files, bags
from support.replays import LEFT, content, replay, two_cameras

LARGE = 1 << 30


@pytest.fixture(scope="module")
def large(tmp_path_factory):
    """A file of 1 GiB that takes no space."""
    path = tmp_path_factory.mktemp("large") / "file"
    with path.open("wb") as file:
        file.truncate(LARGE)
    return path


@pytest.mark.parametrize("start", [0, (1 << 20) - 1, 123_456_789, LARGE // 2, LARGE - (1 << 20)])
def test_longer_changes_and_changes_at_the_ends_are_detected(large, start):
    before = checksum(large)
    at_an_end = start < 1 << 20 or start >= LARGE - (1 << 20)
    length = 1 if at_an_end else LARGE // BETWEEN + BLOCK
    with large.open("r+b") as file:
        file.seek(start)
        file.write(b"\1" * length)
        file.flush()
        changed = checksum(large)
        file.seek(start)
        file.write(bytes(length))
    assert changed != before == checksum(large)


def test_every_byte_of_a_small_file_counts(tmp_path):
    path = tmp_path / "file"
    content = bytearray(1_000_000)
    found = set()
    for place in range(0, len(content), 99_999):
        content[place] = 1
        path.write_bytes(content)
        found.add(checksum(path))
    assert len(found) == 11


def test_only_a_little_of_a_large_file_is_read(tmp_path):
    path = tmp_path / "file"
    with path.open("wb") as file:
        # So much is not read in a lifetime of tests.
        file.truncate(1 << 43)
    assert len(checksum(path)) == 12
    assert (2 * AT_ENDS + BETWEEN) * BLOCK == 16 << 20


def test_a_file_that_cannot_be_read_has_no_checksum(tmp_path):
    assert checksum(tmp_path / "gone") == "No such file or directory"


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_replaced_images_are_detected(tmp_path, storage):
    frames = list(bags.moving_scene(6))
    bag = bags.write_bag(tmp_path / "drive", frames, storage=storage)
    replay(bag, tmp_path / "out")
    size = bag_files.storage_file(bag).stat().st_size
    shutil.rmtree(bag)
    bags.write_bag(bag, [frame[::-1] for frame in frames], storage=storage)
    assert bag_files.storage_file(bag).stat().st_size == size
    with pytest.raises(JournalError, match=r"the recording was '.* \([0-9a-f]{12}\)"):
        replay(bag, tmp_path / "out")
    replay(bag, tmp_path / "out", mode="overwrite")


@pytest.mark.parametrize("how", ["folder", "file", "zstd", "cut"])
def test_a_recording_that_was_moved_is_the_same(tmp_path, how):
    compression = "file" if how == "zstd" else ""
    bag = two_cameras(tmp_path / "here" / "drive", frames=12, compression=compression)
    if how == "cut":
        file = bag_files.storage_file(bag)
        file.write_bytes(file.read_bytes()[:-200_000])
    with Recording(bag) as opened:
        name = opened.files[0].name
    choice = Choice(topics=(LEFT,))
    replay(bag, tmp_path / "out", choice=choice)
    before = content(tmp_path / "out")
    there = shutil.copytree(bag, tmp_path / "there" / "drive")
    shutil.rmtree(bag)
    path = there / name if how == "file" else there
    _, told = replay(path, tmp_path / "out", choice=choice)
    assert [event.text for event in told if isinstance(event, Notice)][-1].endswith("exist already")
    assert content(tmp_path / "out") == before
