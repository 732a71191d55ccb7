"""An sqlite3 file of rosbag2, of any version of its schema; of a broken one, what can be read."""

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
    NOWHERE,
    BagError,
    Item,
    Lost,
    Message,
    Topic,
    Wanted,
)
from deep_perception.replay.recordings.storage.packing import unpacked

MAGIC = b"SQLite format 3\x00"
# What a recorder that is killed leaves beside its file: what it had not put in yet, or how to take
# back what it had begun.
_BESIDE = ("-wal", "-journal")


_Column: TypeAlias = "NDArray[np.int64]"


class SqliteFile:
    """See StorageFile; one stretch. ``scratch`` gives a folder for copies. Raises BagError.

    ``called``: the file of the recording, where ``path`` is a copy of it.
    """

    def __init__(self, path: Path, called: Path, scratch: Callable[[], Path]) -> None:
        self._name = called.name
        self.warnings: dict[str, None] = {}
        self.counts: dict[Topic, int] = {}
        self.stretches = [self]
        self.start_ns = self.end_ns = 0
        self._topics: dict[int, Topic] = {}
        # Of what was read last: whoever looks for single messages asks again and again.
        self._known: tuple[Wanted, tuple[_Column, _Column, _Column]] | None = None
        options = "?immutable=1"
        if any(_beside(path, suffix).exists() for suffix in _BESIDE):
            path, options = _copy(path, scratch()), ""
        try:
            self._database = sqlite3.connect(f"{path.resolve().as_uri()}{options}", uri=True)
            # Without this, SQLite refuses a file that is shorter than it should be.
            self._database.execute("PRAGMA writable_schema=ON")
            self._look()
        except sqlite3.Error as error:
            raise BagError(f"{called}: cannot be read as a bag of rosbag2 ({error})") from None

    def close(self) -> None:
        self._database.close()

    def before(self, wanted: Wanted, from_ns: int) -> int:
        times, _, _ = self._rows(wanted)
        return int(np.searchsorted(times, from_ns))

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        times, topics, rows = self._rows(wanted)
        for at in range(int(np.searchsorted(times, from_ns)), len(times)):
            log_ns, topic, row = int(times[at]), self._topics[int(topics[at])], int(rows[at])
            try:
                found = self._database.execute("SELECT data FROM messages WHERE id = ?", (row,))
                data = unpacked(bytes(found.fetchone()[0]))
            except (sqlite3.Error, TypeError) as error:
                self._warn(f"message {row} cannot be read ({error}); it is lost")
                yield Lost(log_ns, NOWHERE, 1)
            except zstandard.ZstdError as error:
                yield Message(log_ns, topic, b"", str(error))
            else:
                yield Message(log_ns, topic, data)

    def _warn(self, what: str) -> None:
        self.warnings[f"{self._name}: {what}"] = None

    def _look(self) -> None:
        """Find out what is in it."""
        topics = self._database.execute("SELECT id, name, type, serialization_format FROM topics")
        for key, name, kind, encoding in topics:
            self._topics[key] = Topic(name, kind if encoding == "cdr" else f"{kind} as {encoding}")
        self.counts = dict.fromkeys(self._topics.values(), 0)
        try:
            found = self._database.execute(
                "SELECT topic_id, COUNT(*), MIN(timestamp), MAX(timestamp) FROM messages "
                "GROUP BY topic_id"
            ).fetchall()
        except sqlite3.DatabaseError:
            times, keys, _ = self._rows(frozenset(self.counts))
            found = [
                (key, sum(keys == key), times[keys == key].min(), times[keys == key].max())
                for key in np.unique(keys)
            ]
        for key, count, _, _ in found:
            if key in self._topics:
                self.counts[self._topics[key]] += int(count)
        self.start_ns = int(min((start for _, _, start, _ in found), default=0))
        self.end_ns = int(max((end for _, _, _, end in found), default=0))

    def _rows(self, wanted: Wanted) -> tuple[_Column, _Column, _Column]:
        """Time, topic and row of each message, in the order of reading. 32 bytes a message."""
        if self._known is not None and self._known[0] == wanted:
            return self._known[1]
        ours = [key for key, topic in self._topics.items() if topic in wanted]
        ours.sort(key=lambda key: self._topics[key])
        order = {key: rank for rank, key in enumerate(ours)}
        found = np.fromiter(self._scan(order), dtype=np.dtype((np.int64, 4)))
        times, ranks, keys, rows = np.asarray(found, np.int64).reshape(-1, 4).T
        sorted_ = np.lexsort((rows, ranks, times))
        columns = times[sorted_], keys[sorted_], rows[sorted_]
        self._known = wanted, columns
        return columns

    def _scan(self, order: dict[int, int]) -> Iterator[tuple[int, int, int, int]]:
        saved = 0
        try:
            query = "SELECT timestamp, topic_id, id FROM messages ORDER BY id"
            for log_ns, key, row in self._database.execute(query):
                saved += 1
                if key in order:
                    yield log_ns, order[key], key, row
        except sqlite3.DatabaseError as error:
            self._warn(f"breaks off ({error}); {saved} messages were saved")


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _copy(path: Path, folder: Path) -> Path:
    """A copy that SQLite may finish; the recording itself is not changed."""
    copy = folder / path.name
    shutil.copyfile(path, copy)
    for suffix in _BESIDE:
        if _beside(path, suffix).exists():
            shutil.copyfile(_beside(path, suffix), _beside(copy, suffix))
    return copy
