"""An sqlite3 file of rosbag2, of any version of its schema, also if it is damaged."""

from __future__ import annotations

import shutil
import sqlite3
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeAlias

import numpy as np
import zstandard
from numpy.typing import NDArray

from deep_perception.replay.recordings.storage import (
    LARGEST_MESSAGE,
    UNKNOWN_TOPIC,
    BagError,
    Item,
    Lost,
    Message,
    Topic,
    Wanted,
)
from deep_perception.replay.recordings.storage.packing import (
    Expansion,
    TooLarge,
    decompress_message,
)
from deep_perception.replay.recordings.storage.sqlite_guard import guarded
from deep_perception.untrusted.sqlite_journals import names_other_file
from deep_perception.untrusted.text import REASON, printable

MAGIC = b"SQLite format 3\x00"
# A killed recorder leaves these files: changes that are not in the database yet, or a journal to
# undo a change.
_COMPANIONS = ("-wal", "-journal")


# Topics of a recording, and bytes of a message with its time in a file.
_MOST_TOPICS, _SMALLEST_ROW = 65536, 8

_Column: TypeAlias = "NDArray[np.int64]"


class SqliteFile:
    """A StorageFile with one stretch, itself. Raises BagError.

    ``original`` is the file of the recording of which ``path`` may be a copy; ``scratch`` creates a
    folder for further copies.
    """

    def __init__(self, path: Path, original: Path, scratch: Callable[[], Path]) -> None:
        self._name = original.name
        self.warnings: dict[str, None] = {}
        self.counts: dict[Topic, int] = {}
        self.stretches = [self]
        self.start_ns = self.end_ns = 0
        self._topics: dict[int, Topic] = {}
        # The index of the last topics, because a reader of single images asks for it again.
        self._cached: tuple[Wanted, tuple[_Column, _Column, _Column]] | None = None
        options = "?immutable=1"
        if any(_companion(path, suffix).is_file() for suffix in _COMPANIONS):
            path, options = _copy(path, scratch()), ""
        self._size = sum(
            each.stat().st_size
            for each in (path, *(_companion(path, suffix) for suffix in _COMPANIONS))
            if each.exists()
        )
        database = sqlite3.connect(f"{path.resolve().as_uri()}{options}", uri=True)
        try:
            self._database = guarded(database, self._size)
            self._read_topics()
        except (sqlite3.Error, ValueError, TypeError, OverflowError) as error:
            database.close()
            reason = printable(error, REASON)
            raise BagError(f"{original}: cannot be read as a bag of rosbag2 ({reason})") from None

    def close(self) -> None:
        self._database.close()

    def before(self, wanted: Wanted, from_ns: int) -> int:
        times, _, _ = self._index(wanted)
        return int(np.searchsorted(times, from_ns))

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        times, keys, rows = self._index(wanted)
        expansion = Expansion(self._size)
        for index in range(int(np.searchsorted(times, from_ns)), len(times)):
            log_ns, row = int(times[index]), int(rows[index])
            topic = self._topics[int(keys[index])]
            try:
                found = self._database.execute("SELECT data FROM messages WHERE id = ?", (row,))
                (raw,) = found.fetchone()
                if not isinstance(raw, bytes):
                    raise TypeError("its data are no bytes")
                if len(raw) > LARGEST_MESSAGE:
                    raise TypeError(f"its data are larger than {LARGEST_MESSAGE} bytes")
                data = decompress_message(raw)
                expansion.add(len(data))
            except (sqlite3.Error, TypeError, MemoryError) as error:
                self._warn(f"message {row} cannot be read ({printable(error, REASON)}); it is lost")
                yield Lost(log_ns, UNKNOWN_TOPIC, 1)
            except (TooLarge, zstandard.ZstdError) as error:
                yield Message(log_ns, topic, b"", str(error))
            else:
                yield Message(log_ns, topic, data)

    def _warn(self, text: str) -> None:
        self.warnings[f"{self._name}: {text}"] = None

    def _read_topics(self) -> None:
        """Read the topics, the number of their messages, and the times of first and last."""
        topics = self._database.execute("SELECT id, name, type, serialization_format FROM topics")
        for key, name, kind, encoding in topics:
            if not isinstance(key, int) or not all(isinstance(i, str) for i in (name, kind)):
                raise ValueError("a topic that is none")
            if len(self._topics) >= _MOST_TOPICS:
                raise ValueError(f"more than {_MOST_TOPICS} topics")
            self._topics[key] = Topic(name, kind if encoding == "cdr" else f"{kind} as {encoding}")
        self.counts = dict.fromkeys(self._topics.values(), 0)
        try:
            found = self._database.execute(
                "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages "
                "GROUP BY topic_id"
            ).fetchall()
        except sqlite3.DatabaseError:
            times, keys, _ = self._index(frozenset(self.counts))
            found = [
                (key, sum(keys == key), times[keys == key].min(), times[keys == key].max())
                for key in np.unique(keys)
            ]
        for key, count, _, _ in found:
            if key in self._topics:
                self.counts[self._topics[key]] += int(count)
        self.start_ns = int(min((start for _, _, start, _ in found), default=0))
        self.end_ns = int(max((end for _, _, _, end in found), default=0))

    def _index(self, wanted: Wanted) -> tuple[_Column, _Column, _Column]:
        """Return time, topic and row of each message in the order of reading.

        This takes 32 bytes a message while the index is built, and 24 bytes afterwards.
        """
        if self._cached is not None and self._cached[0] == wanted:
            return self._cached[1]
        keys_by_topic = sorted(
            (key for key, topic in self._topics.items() if topic in wanted),
            key=lambda key: self._topics[key],
        )
        ranks_of = {key: rank for rank, key in enumerate(keys_by_topic)}
        found = np.fromiter(self._scan(ranks_of), dtype=np.dtype((np.int64, 4)))
        times, ranks, keys, rows = np.asarray(found, np.int64).reshape(-1, 4).T
        order = np.lexsort((rows, ranks, times))
        columns = times[order], keys[order], rows[order]
        self._cached = wanted, columns
        return columns

    def _scan(self, ranks: dict[int, int]) -> Iterator[tuple[int, int, int, int]]:
        saved = 0
        try:
            query = "SELECT timestamp, topic_id, id FROM messages ORDER BY id"
            for log_ns, key, row in self._database.execute(query):
                saved += 1
                if saved * _SMALLEST_ROW > self._size:
                    raise sqlite3.DatabaseError("more messages than fit into the file")
                if key in ranks and isinstance(log_ns, int):
                    yield log_ns, ranks[key], key, row
        except sqlite3.DatabaseError as error:
            self._warn(f"breaks off ({error}); {saved} messages were saved")


def _companion(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _copy(path: Path, folder: Path) -> Path:
    """Copy a file, so that SQLite completes the copy and not the recording itself."""
    copy = folder / path.name
    shutil.copyfile(path, copy)
    for suffix in _COMPANIONS:
        companion = _companion(path, suffix)
        if companion.is_file() and not names_other_file(companion):
            shutil.copyfile(companion, _companion(copy, suffix))
    return copy
