"""Recordings that somebody made to do harm: each is refused or read in one line, and costs little.

Limits are made small here, so that the tests need no gigabytes.

This file is longer than 300 lines because its tests share the limits and what makes the files.
"""

import bz2
import contextlib
import re
import sqlite3
import struct
import time
import tracemalloc
from pathlib import Path
from types import SimpleNamespace

import lz4.frame
import numpy as np
import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.replay.recordings import storage
from deep_perception.replay.recordings.bags import BagError, Recording, name_of
from deep_perception.replay.recordings.storage import (
    mcap_files,
    mcap_parts,
    metadata,
    packing,
    ros1_files,
)
from support import bag_files, bags
from support.bags import START_NS, TOPIC
from support.recordings import one_line, read

SMALL = 1 << 20


@pytest.fixture
def small_limits(monkeypatch):
    """A megabyte for each message and chunk, and little more for a file."""
    for module in (packing, mcap_files, mcap_parts, ros1_files):
        for name in ("LARGEST_MESSAGE", "LARGEST_CHUNK", "ALWAYS_BYTES"):
            if hasattr(module, name):
                monkeypatch.setattr(module, name, SMALL)
    monkeypatch.setattr(packing, "MOST_TIMES", 2)


@pytest.fixture
def cheap():
    """Whatever a test does takes some megabytes, and no minutes."""
    tracemalloc.start()
    started = time.process_time()
    try:
        yield
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 60_000_000 and time.process_time() - started < 20


def zeros(size, packer):
    """Compressed zeros."""
    return {
        "zstd": lambda data: zstandard.ZstdCompressor(write_content_size=False).compress(data),
        "lz4": lambda data: lz4.frame.compress(data, store_size=False),
        "bz2": bz2.compress,
        "": bytes,
    }[packer](bytes(size))


# -- mcap ------------------------------------------------------------------------------------------


def record(code, body):
    return struct.pack("<BQ", code, len(body)) + body


def text(value):
    raw = value.encode()
    return struct.pack("<I", len(raw)) + raw


def chunk(data, packer, size, times=(START_NS, START_NS)):
    body = struct.pack("<QQQI", *times, size, 0) + text(packer)
    return record(6, body + struct.pack("<Q", len(data)) + data)


def mcap(path, *parts):
    """A file with an image topic, one image, and other parts; without an index."""
    schema = record(3, struct.pack("<H", 1) + text(bags.IMAGE) + text("ros2msg") + text(""))
    channel = record(4, struct.pack("<HH", 1, 1) + text(TOPIC) + text("cdr") + text(""))
    image = bags.image(np.zeros((2, 2, 3), np.uint8), START_NS)
    message = record(5, struct.pack("<HIQQ", 1, 0, START_NS, START_NS) + image)
    path.write_bytes(
        b"".join((b"\x89MCAP0\r\n", record(1, text("ros2") + text("")), schema, channel, message,
                  *parts, record(15, struct.pack("<I", 0)),
                  record(2, struct.pack("<QQI", 0, 0, 0)), b"\x89MCAP0\r\n"))
    )  # fmt: skip
    return path


@pytest.mark.parametrize("packer", ["zstd", "lz4"])
@pytest.mark.parametrize("claimed", [100, SMALL, 64 * SMALL, 2**62])
def test_a_chunk_is_not_larger_than_it_says_or_than_an_image(
    tmp_path, small_limits, packer, claimed
):
    data = zeros(64 * SMALL, packer)
    path = mcap(tmp_path / "bomb.mcap", chunk(data, packer, claimed))
    tracemalloc.start()
    try:
        frames, warnings = read(path)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(frames) == 1 and peak < 16 * SMALL
    (warning,) = warnings
    assert "the chunk at byte" in warning and "is damaged" in warning


def test_chunks_cannot_be_made_of_nothing(tmp_path, small_limits):
    """Each is allowed, but not all of them together."""
    parts = [chunk(zeros(SMALL // 2, "zstd"), "zstd", SMALL // 2) for _ in range(8)]
    assert "more than 2 times as large when it is decompressed" in one_line(
        mcap(tmp_path / "bomb.mcap", *parts)
    )


def test_chunks_of_one_time_are_not_in_memory_together(tmp_path, monkeypatch):
    monkeypatch.setattr(storage, "MOST_HELD", SMALL)
    monkeypatch.setattr(storage, "LARGEST_CHUNK", SMALL // 2)
    image = bags.image(np.zeros((300, 400, 3), np.uint8), START_NS)
    times = (START_NS + 1, START_NS + 2)
    records = b"".join(record(5, struct.pack("<HIQQ", 1, 0, ns, ns) + image) for ns in times)
    whole = chunk(records, "", len(records), times)
    frames, warnings = read(mcap(tmp_path / "bag.mcap", *[whole] * 5))
    assert 1 < len(frames) < 11
    assert "too large for the memory, beside others of the same time" in warnings[0]


def test_messages_of_one_time_are_not_in_memory_together(monkeypatch):
    monkeypatch.setattr(storage, "MOST_HELD", SMALL)
    topic = storage.Topic(TOPIC, bags.IMAGE)

    def stretch():
        items = [storage.Message(ns, topic, bytes(SMALL // 4)) for ns in range(2)]
        return SimpleNamespace(
            start_ns=0, end_ns=1, before=lambda *_: 0, read=lambda *_: iter(items)
        )

    few, many = ([stretch() for _ in range(count)] for count in (4, 40))
    assert len(list(storage.Timeline(few, frozenset([topic])).read(0))) == 8
    with pytest.raises(BagError, match="parts of this recording overlap in time"):
        list(storage.Timeline(many, frozenset([topic])).read(0))


HUGE = 2**63 + 5


@pytest.mark.parametrize(
    ("summary_at", "summary"),
    [
        (HUGE, b""),
        (2**40, b""),
        (8, b""),
        (None, record(6, struct.pack("<QQQI", 0, 0, 2**50, 0) + text("zstd")
                      + struct.pack("<Q", 2**50))),
        (None, record(8, struct.pack("<QQQQI", 0, 0, 8, 2**50, 0) + struct.pack("<Q", 0)
                      + text("zstd") + struct.pack("<QQ", 2**50, 2**50))
         + record(11, struct.pack("<QHIIIIQQI", 0, 1, 1, 0, 0, 1, 0, 0, 0))),
        (None, struct.pack("<BQ", 4, 2**63)),
        (None, record(4, struct.pack("<HH", 1, 1) + struct.pack("<I", 2**32 - 1))),
    ],
)  # fmt: skip
def test_an_index_that_points_anywhere_is_not_used(tmp_path, cheap, summary_at, summary):
    path = mcap(tmp_path / "bag.mcap")
    raw = path.read_bytes()
    end = len(raw) - 8 - 9 - 20
    at = end if summary_at is None else summary_at
    footer = record(2, struct.pack("<QQI", at, 0, 0))
    path.write_bytes(raw[:end] + summary + footer + b"\x89MCAP0\r\n")
    frames, _ = read(path)
    assert len(frames) == 1


def test_an_index_does_not_read_one_chunk_again_and_again(tmp_path):
    path = bags.write_bag(tmp_path / "bag.mcap", bags.moving_scene(3), storage="file",
                          compression="zstd")  # fmt: skip
    raw = path.read_bytes()
    # Every index of a chunk points at the first one.
    index = [at for at in range(len(raw) - 9) if raw[at] == 8 and raw[at + 2 : at + 9] == bytes(7)]
    assert index
    first = raw[index[0] + 9 + 16 : index[0] + 9 + 32]
    for at in index:
        raw = raw[: at + 25] + first + raw[at + 41 :]
    path.write_bytes(raw)
    frames, _ = read(path)
    assert len(frames) == 3


def test_a_message_that_is_a_bomb_is_left_out(tmp_path, small_limits):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(3), storage="sqlite3")
    with sqlite3.connect(bag_files.storage_file(path)) as database:
        database.execute("UPDATE messages SET data = ? WHERE id = 2", (zeros(64 * SMALL, "zstd"),))
    frames, _ = read(path)
    assert [bool(frame.problem) for frame in frames] == [False, True, False]
    assert "larger than" in frames[1].problem


@pytest.mark.parametrize("storage", ["mcap", "sqlite3"])
def test_a_compressed_file_that_is_a_bomb_fills_no_disk(tmp_path, small_limits, storage):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(1), storage=storage)
    file = bag_files.storage_file(path)
    packed = file.with_name(f"{file.name}.zstd")
    packed.write_bytes(zeros(64 * SMALL, "zstd"))
    file.unlink()
    assert "more than 2 times as large when it is decompressed" in one_line(packed)
    # A file in a file, and so on, is no recording.
    packed.write_bytes(zstandard.compress(zstandard.compress(b"SQLite format 3\x00")))
    assert "is no recording" in one_line(packed)


# -- metadata.yaml ---------------------------------------------------------------------------------


def laughs():
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for number in range(1, 20):
        name, before = (chr(97 + n) for n in (number, number - 1))
        lines.append(f"{name}: &{name} [{', '.join([f'*{before}'] * 9)}]")
    merged = "m0: &m0 {k: v}\n" + "\n".join(
        f"m{n}: &m{n} {{<<: [{', '.join([f'*m{n - 1}'] * 9)}]}}" for n in range(1, 12)
    )
    return (
        "\n".join(lines)
        + "\n"
        + merged
        + "\nrosbag2_bagfile_information:\n"
        + ("  relative_file_paths: [*t, *m11]\n")
    )


def listing(*names):
    paths = "".join(f"    - {name}\n" for name in names)
    return f"rosbag2_bagfile_information:\n  relative_file_paths:\n{paths}"


@pytest.mark.parametrize(
    "content",
    [
        laughs(),
        "a: " + "[" * 300_000,
        "- " * 300_000,
        "{a: " * 100_000,
        listing("../../secret/bag_0.mcap", "/etc/passwd", "..", ".", "''", '"a\\0b"', "x" * 5000),
        listing(*(f"part_{number}.mcap" for number in range(3000))),
        "rosbag2_bagfile_information: !!python/object/apply:os.system ['touch hacked']",
        "rosbag2_bagfile_information: [1, 2]",
        "\x00\xff",
        "#" * (metadata.LARGEST + 1),
        listing('"\\e[31m\\u202e"', "bag.mcap"),
    ],
)
def test_metadata_of_any_content(tmp_path, cheap, content):
    """The recording is read all the same, and nothing outside of its folder."""
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(1))
    (tmp_path / "secret").mkdir()
    (tmp_path / "secret" / "bag_0.mcap").write_bytes(b"secret")
    (path / "metadata.yaml").write_bytes(content.encode("latin-1", "replace"))
    frames, warnings = read(path)
    assert len(frames) == 1
    assert sum(map(len, warnings)) < 9000 and all(each.isprintable() for each in warnings)
    assert not Path("hacked").exists()


def test_names_in_metadata_are_each_read_once(tmp_path):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(2))
    name = bag_files.storage_file(path).name
    (path / "metadata.yaml").write_text(listing(*[name] * 100, f"bag/{name}"))
    frames, warnings = read(path)
    assert len(frames) == 2 and not warnings


@pytest.mark.parametrize("name", ["..mcap", "...mcap", "....db3", "..bag"])
def test_the_name_of_a_recording_is_no_path(tmp_path, name):
    assert name_of(tmp_path / name) == ""


# -- sqlite3 ---------------------------------------------------------------------------------------

FOREVER = "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n) SELECT"


@pytest.mark.parametrize(
    "schema",
    [
        f"DROP TABLE messages; CREATE VIEW messages AS {FOREVER} i AS id, 1 AS topic_id, "
        "i AS timestamp, x'00' AS data FROM n",
        f"DROP TABLE topics; CREATE VIEW topics AS {FOREVER} i AS id, 'a' AS name, 'b' AS type, "
        "'cdr' AS serialization_format FROM n",
        "DROP TABLE messages; CREATE TABLE messages(id INTEGER PRIMARY KEY, topic_id INTEGER, "
        "timestamp INTEGER, data BLOB AS (zeroblob(1000000000)))",
        "DROP TABLE messages; CREATE VIRTUAL TABLE messages USING fts4(topic_id, timestamp, data)",
        "UPDATE topics SET name = x'00'",
    ],
)
def test_sql_that_comes_with_a_file_does_not_run(tmp_path, cheap, schema):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(1), storage="sqlite3")
    with sqlite3.connect(bag_files.storage_file(path)) as database:
        database.executescript(schema)
    database.close()
    assert "cannot be read as a bag of rosbag2" in one_line(path)


@pytest.mark.parametrize(
    "update",
    ["data = 8000000000", "data = 'text'", "timestamp = 'soon'", "topic_id = 1e99",
     "timestamp = x'00'"],
)  # fmt: skip
def test_values_of_another_kind_cost_one_message(tmp_path, cheap, update):
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(3), storage="sqlite3")
    with sqlite3.connect(bag_files.storage_file(path)) as database:
        database.execute("PRAGMA ignore_check_constraints=ON")
        database.execute(f"UPDATE messages SET {update} WHERE id = 2")
    database.close()
    try:
        frames, _ = read(path)
    except BagError as error:
        assert "cannot be read as a bag of rosbag2" in str(error)
    else:
        assert len(frames) == 2


def test_pages_that_refer_to_themselves_end(tmp_path, cheap):
    """An inner page whose children are one and the same: messages without end."""
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(2), storage="sqlite3")
    file = bag_files.storage_file(path)
    with sqlite3.connect(file) as database:
        database.executemany(
            "INSERT INTO messages(topic_id, timestamp, data) VALUES (1, ?, ?)",
            [(START_NS + number, bytes(300)) for number in range(3000)],
        )
        root = database.execute(
            "SELECT rootpage FROM sqlite_master WHERE name = 'messages'"
        ).fetchone()[0]
        size = database.execute("PRAGMA page_size").fetchone()[0]
    database.close()
    raw = bytearray(file.read_bytes())
    page = (root - 1) * size
    assert raw[page] == 5
    cells = struct.unpack_from(">H", raw, page + 3)[0]
    first = struct.unpack_from(">H", raw, page + 12)[0]
    child = raw[page + first : page + first + 4]
    for cell in range(cells):
        at = page + struct.unpack_from(">H", raw, page + 12 + 2 * cell)[0]
        raw[at : at + 4] = child
    file.write_bytes(raw)
    with contextlib.suppress(BagError):
        read(path)


def test_a_journal_deletes_no_other_file(tmp_path):
    """SQLite deletes the file that a journal of several databases names."""
    victim = tmp_path / "victim.txt"
    victim.write_bytes(b"precious\0")
    path = bags.write_bag(tmp_path / "bag", bags.moving_scene(2), storage="sqlite3")
    file = bag_files.storage_file(path)
    writer = sqlite3.connect(file)
    writer.execute("PRAGMA cache_size=1")
    writer.execute("BEGIN")
    writer.execute("CREATE TABLE other(a)")
    writer.executemany("INSERT INTO other VALUES(?)", [("x" * 500,)] * 3000)
    journal = Path(f"{file}-journal")
    changed, raw = file.read_bytes(), journal.read_bytes()
    writer.rollback()
    writer.close()
    name = str(victim).encode()
    raw += struct.pack(">I", 0x40000000 // 4096 + 1) + name
    raw += struct.pack(">II", len(name), sum(name)) + b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"
    file.write_bytes(changed)
    journal.write_bytes(raw)
    with Recording(path):
        pass
    assert victim.exists()


# -- ROS 1 -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("packer", ["bz2", "lz4"])
def test_a_chunk_of_ros_1_is_not_larger_than_it_says(tmp_path, small_limits, packer):
    path = bags.write_bag(tmp_path / "bag.bag", bags.moving_scene(2), storage="ros1",
                          compression=packer)  # fmt: skip
    raw = path.read_bytes()
    start = raw.index(b"compression=" + packer.encode())
    start = raw.index(struct.pack("<I", 9) + b"size=", start - 60)
    at = start + 13
    size = struct.unpack_from("<I", raw, at)[0]
    data = zeros(8 * SMALL, packer)
    assert len(data) <= size
    path.write_bytes(raw[:at] + data.ljust(size, b"\0") + raw[at + size :])
    tracemalloc.start()
    try:
        message = ""
        try:
            frames, warnings = read(path)
            message = "".join(warnings)
            assert not frames
        except BagError as error:
            message = str(error)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < 6 * SMALL
    assert "is damaged" in message or "cannot be read as a ROS 1 bag" in message


def test_an_index_of_ros_1_does_not_read_one_chunk_again_and_again(tmp_path):
    path = bags.write_bag(
        tmp_path / "bag.bag", bags.moving_scene(3, size=(1200, 900)), storage="ros1"
    )
    raw = path.read_bytes()
    first, *others = re.finditer(rb"chunk_pos=(.{8})", raw, re.DOTALL)
    assert others
    for other in others:
        raw = raw[: other.start(1)] + first[1] + raw[other.end(1) :]
    path.write_bytes(raw)
    assert "Two chunks in one place" in one_line(path)


def test_a_first_line_without_end_is_not_read(tmp_path, cheap):
    path = tmp_path / "bag.bag"
    with path.open("wb") as file:
        file.write(b"#ROSBAG V2.0")
        file.truncate(1 << 30)
    assert "No end of its first line" in one_line(path)


# -- anything --------------------------------------------------------------------------------------


def test_names_of_topics_are_escaped_and_not_endless(tmp_path):
    topics = ["/a\n\x1b[31mred", "/" + "b" * 5000, "/\u202econfusing"]
    path = bags.write(
        tmp_path / "bag.mcap",
        [message for topic in topics for message in bags.camera(bags.moving_scene(1), topic)],
        storage="file",
    )
    with Recording(path) as recording:
        assert len(recording.image_topics) == 2
        assert all(len(warning) < 300 for warning in recording.warnings)


KINDS = {
    "mcap": ("file", "zstd", ".mcap"), "lz4": ("file", "lz4", ".mcap"),
    "unindexed": ("file", "", ".mcap"), "sqlite3": ("sqlite3", "", ""),
    "ros1": ("ros1", "lz4", ".bag"), "bz2": ("ros1", "bz2", ".bag"),
}  # fmt: skip


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    files = {}
    for kind, (writer, packer, suffix) in KINDS.items():
        path = bags.write_bag(
            folder / f"{kind}{suffix}", bags.moving_scene(2, size=(16, 12)), storage=writer,
            compression=packer,
        )  # fmt: skip
        files[kind] = (bag_files.storage_file(path) if path.is_dir() else path).read_bytes()
    return files


@pytest.mark.fuzz
@pytest.mark.parametrize("kind", KINDS)
@given(data=st.data())
def test_changed_bytes_raise_bag_errors_only(tmp_path_factory, whole, kind, data):
    raw = bytearray(whole[kind])
    for _ in range(data.draw(st.integers(1, 4))):
        at = data.draw(st.integers(0, len(raw) - 1))
        raw[at : at + 8] = data.draw(
            st.binary(min_size=1, max_size=8) | st.sampled_from([b"\xff" * 8, b"\0" * 8])
        )
    path = tmp_path_factory.getbasetemp() / f"fuzz_{kind}"
    path.write_bytes(raw)
    try:
        frames, warnings = read(path)
    except BagError as error:
        assert str(error).isprintable()
        return
    assert all(warning.isprintable() for warning in warnings)
    for frame in frames:
        try:
            frame.image()
        except ValueError:
            continue


def test_a_chunk_of_empty_records_is_not_counted_to_its_end(tmp_path):
    """Ten million in a few kilobytes, which would take a minute."""
    data = zeros(90_000_000, "zstd")
    path = mcap(tmp_path / "bag.mcap", chunk(data, "zstd", 90_000_000))
    frames, (warning,) = read(path)
    assert len(frames) == 1 and " records" in warning
