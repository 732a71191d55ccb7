"""The SQLite file of descriptions: used by several processes at once, safe against kill -9."""

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

from deep_perception.regions import PENDING, Description

log = logging.getLogger(__name__)

# Marks the file as a cache of this package, so that no database of another program is changed.
APPLICATION_ID = 0x64707764
# How long another process may keep the file locked, seconds.
BUSY_S = 2.0
# Number of writes between two counts of the rows, which take milliseconds.
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
    """Keeps at most ``limit`` descriptions, the most recently used ones. For one thread only.

    All methods raise sqlite3.Error or OSError if the file cannot be used.
    """

    def __init__(self, path: Path, limit: int) -> None:
        """Open the file, or create it."""
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
                # SQLite's own timeout does not cover two processes that change the mode at once.
                if "locked" not in str(error) or time.monotonic() > deadline:
                    raise
                time.sleep(0.02)
        # A power cut may lose the last descriptions, a killed process loses none.
        self._connection.execute("PRAGMA synchronous = NORMAL")
        with self._transaction():
            if not self._check_owner():
                for statement in SCHEMA:
                    self._connection.execute(statement)

    def _check_owner(self) -> bool:
        """Return whether the file is a cache of this package, False for a new file.

        Raises sqlite3.DatabaseError for the database of another program.
        """
        # The tables are counted first, as another process may create them between both statements.
        (tables,) = self._connection.execute("SELECT count(*) FROM sqlite_master").fetchone()
        (owner,) = self._connection.execute("PRAGMA application_id").fetchone()
        if owner != APPLICATION_ID and (owner or tables):
            raise sqlite3.DatabaseError("it is a database of something else")
        return bool(owner)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        # IMMEDIATE: a transaction that begins with reading cannot wait for another writer.
        self._connection.execute("BEGIN IMMEDIATE")
        try:
            yield
            self._connection.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):
                self._connection.execute("ROLLBACK")
            raise

    def get(self, key: bytes) -> Description | None:
        """Return a description, None if there is none or its row cannot be parsed."""
        row = self._connection.execute("SELECT words FROM words WHERE key = ?", (key,)).fetchone()
        if row is None:
            return None
        self._used.add(key)
        return _from_json(row[0])

    def put(self, key: bytes, description: Description) -> Description:
        """Write a description, and return the one that is in the file.

        That is another one if another process was faster. The file is written when this returns.
        """
        content = json.dumps(dataclasses.asdict(description), ensure_ascii=False)
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
        return first or description

    def close(self) -> None:
        """Write which descriptions were used, and close the file."""
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


Use = Callable[[DescriptionFile], "Description | None"]


class SharedDescriptionFile:
    """A DescriptionFile for any thread, which is opened and used in a thread of its own.

    A slow disk, or another process that locks the file, blocks only callers that wait for a result.
    If the file cannot be used, one warning is logged and every result is None from then on.
    """

    def __init__(self, path: Path, limit: int, consequence: str) -> None:
        """``consequence``: ends the warning, and says what happens without the file."""
        self._path, self._limit, self._consequence = path, limit, consequence
        self._file: DescriptionFile | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="words-cache")
        self.warning = ""

    def submit(self, use: Use) -> Future[Description | None]:
        """Call ``use`` with the file in the thread; its result, or None if the file is unusable."""
        return self._executor.submit(self._run, use)

    def _run(self, use: Use) -> Description | None:
        if self.warning:
            return None
        try:
            if self._file is None:
                self._file = DescriptionFile(self._path, self._limit)
            return use(self._file)
        except (sqlite3.Error, OSError) as error:
            self.warning = (
                f"describer.cache_file: {self._path} cannot be used ({error}); {self._consequence}"
            )
            log.warning(self.warning)
            return None

    def close(self) -> None:
        """Wait for all submitted calls, and close the file. A second call does nothing."""
        with suppress(RuntimeError), self._executor:
            self._executor.submit(self._close_file)

    def _close_file(self) -> None:
        try:
            if self._file is not None:
                self._file.close()
        except sqlite3.Error as error:
            log.debug("the file of descriptions %s was not closed well: %s", self._path, error)


def _from_json(text: object) -> Description | None:
    try:
        content = json.loads(str(text))
        if all(isinstance(value, type(getattr(PENDING, name))) for name, value in content.items()):
            return Description(**content)
    except (ValueError, TypeError, AttributeError):
        pass
    return None
