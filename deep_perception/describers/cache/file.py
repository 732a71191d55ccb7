"""The SQLite file of remembered words: for several processes at once, safe against kill -9."""

from __future__ import annotations

import dataclasses
import json
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TypeVar

from deep_perception.regions import PENDING, Description

log = logging.getLogger(__name__)

Found = TypeVar("Found")

# Marks the file as ours: another program's database gets no table of ours.
APPLICATION_ID = 0x64707764
# How long another process may keep the file locked.
BUSY_S = 2.0
# Looking how many there are costs milliseconds.
PRUNE_EVERY = 256

SCHEMA = (
    "CREATE TABLE words (key BLOB PRIMARY KEY, words TEXT NOT NULL, used REAL NOT NULL) "
    "WITHOUT ROWID",
    "CREATE INDEX words_used ON words (used)",
    f"PRAGMA application_id = {APPLICATION_ID}",
)
PRUNE = (
    "DELETE FROM words WHERE key IN (SELECT key FROM words ORDER BY used "
    "LIMIT max(0, (SELECT count(*) FROM words) - ?))"
)


class DescriptionFile:
    """Keeps at most ``limit`` words, those that were used last; of one thread.

    All methods raise sqlite3.Error or OSError when the file cannot be used.
    """

    def __init__(self, path: Path, limit: int) -> None:
        """Open the file, or make it."""
        self._limit = limit
        self._used: set[bytes] = set()
        self._puts = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        self._check_owner()
        deadline = time.monotonic() + BUSY_S
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                break
            except sqlite3.OperationalError as error:
                # SQLite does not wait here while another process does the same.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        # A power cut may cost the last words, a killed process none.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            if not self._check_owner():
                for statement in SCHEMA:
                    self._connection.execute(statement)

    def _check_owner(self) -> bool:
        """Whether the file is one of these; False of a new one."""
        # In this order: another process may be making it between the two.
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (owner,) = self._connection.execute("PRAGMA application_id").fetchone()
        if owner != APPLICATION_ID and (owner or tables):
            raise sqlite3.DatabaseError("it is a database of something else")
        return bool(owner)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # At once: a transaction that begins by reading cannot wait for another's writing.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def get(self, key: bytes) -> Description | None:
        """The words, None when there are none or they are not understood."""
        row = self._connection.execute("SELECT words FROM words WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        self._used.add(key)
        return _from_json(row[0])

    def put(self, key: bytes, words: Description) -> Description:
        """Keep words; they are in the file when this returns.

        Returns what is in the file: the words of another process that was faster, or these.
        """
        content = json.dumps(dataclasses.asdict(words), ensure_ascii=False)
        with self._transaction():
            first = self.get(key)
            if first is None:
                self._connection.execute(
                    "INSERT OR REPLACE INTO words VALUES (?, ?, ?)", (key, content, time.time())
                )
            self._write_used()
            if self._puts % PRUNE_EVERY == 0:
                self._connection.execute(PRUNE, (self._limit,))
        self._puts += 1
        return first or words

    def close(self) -> None:
        """Write which words were used, and close the file."""
        try:
            self._write_used()
            self._connection.execute(PRUNE, (self._limit,))
        finally:
            self._connection.close()

    def _write_used(self) -> None:
        now = time.time()
        self._connection.executemany(
            "UPDATE words SET used = ? WHERE key = ?", [(now, key) for key in self._used]
        )
        self._used.clear()


class WordsThread:
    """A WordsFile for any thread: it is opened and asked in one of its own.

    Its disk, or another process that has it, keeps nobody waiting who does not want to.
    """

    def __init__(self, path: Path, limit: int) -> None:
        self._path, self._limit = path, limit
        self._file: DescriptionFile | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="words-cache")

    def submit(self, use: Callable[[DescriptionFile], Found]) -> Future[Found]:
        """What ``use`` gives; as an error sqlite3.Error or OSError when the file is not usable."""
        return self._executor.submit(self._run, use)

    def _run(self, use: Callable[[DescriptionFile], Found]) -> Found:
        if self._file is None:
            self._file = DescriptionFile(self._path, self._limit)
        return use(self._file)

    def close(self) -> None:
        """Wait for what was submitted, and close the file."""
        with self._executor:
            self._executor.submit(self._end)

    def _end(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except sqlite3.Error as error:
            log.debug("the words cache was not closed well: %s", error)


def _from_json(text: object) -> Description | None:
    try:
        content = json.loads(str(text))
        if all(isinstance(value, type(getattr(PENDING, name))) for name, value in content.items()):
            return Description(**content)
    except (ValueError, TypeError, AttributeError):
        pass
    return None
