"""The storage files of recordings for tests: what is in them, and how they get damaged."""

import sqlite3
from pathlib import Path

from mcap.stream_reader import StreamReader


def storage_file(folder):
    """The one storage file of a rosbag2 folder."""
    (file,) = (path for path in Path(folder).iterdir() if path.name != "metadata.yaml")
    return file


def truncate(file, keep):
    """Truncate a file to ``keep`` bytes, or to that share of its bytes if it is below 1."""
    size = Path(file).stat().st_size
    with Path(file).open("r+b") as opened:
        opened.truncate(int(size * keep) if keep < 1 else keep)


def chunk_offsets(file):
    """The offsets of the data of each chunk of an .mcap file, in order."""
    raw, offsets, at = Path(file).read_bytes(), [], 8
    while at + 9 <= len(raw):
        code, length = raw[at], int.from_bytes(raw[at + 1 : at + 9], "little")
        if code == 6:
            name = int.from_bytes(raw[at + 9 + 28 : at + 9 + 32], "little")
            offsets.append(at + 9 + 32 + name + 8)
        if code == 2:
            break
        at += 9 + length
    return offsets


def damage(file, offset, count=16):
    """Invert ``count`` bytes of a file, like a bad disk."""
    with Path(file).open("r+b") as opened:
        opened.seek(offset)
        raw = opened.read(count)
        opened.seek(offset)
        opened.write(bytes(byte ^ 0xFF for byte in raw))


def forget_definitions(database):
    """Convert an sqlite3 file to the schema of Humble, without message definitions."""
    connection = sqlite3.connect(database)
    with connection:
        connection.execute("DELETE FROM message_definitions")
        connection.execute("UPDATE schema SET schema_version = 3")
    connection.close()


def mcap_messages(file):
    """(topic, log time, data) of every message of an .mcap file, in the order of the file."""
    channels = {}
    with Path(file).open("rb") as opened:
        for record in StreamReader(opened).records:
            if type(record).__name__ == "Channel":
                channels[record.id] = record.topic
            elif type(record).__name__ == "Message":
                yield channels[record.channel_id], record.log_time, record.data
