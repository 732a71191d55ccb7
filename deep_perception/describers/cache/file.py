"""The SQLite file of descriptions: used by several processes at once, safe against kill -9."""

from __future__ import annotations

import logging
import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from concurrent.futures import TimeoutError as FutureTimeoutError
from contextlib import contextmanager, suppress
from pathlib import Path

from deep_perception.describers.cache.rows import ANSWER, LONGEST_ROW, Limits, read_row, write_row
from deep_perception.regions import Description
from deep_perception.untrusted.sqlite_journals import names_other_file
from deep_perception.untrusted.text import REASON, printable

log = logging.getLogger(__name__)

# Marks the file as a cache of this package, so that no database of another program is changed.
APPLICATION_ID = 0x64707764
# How long another process may keep the file locked, seconds.
BUSY_S = 2.0
# How long one call may use the file, seconds. Only a file that was made to be slow takes longer.
SLOW_S = 20.0
# How long a region waits for the file: a disk that is full of writes may take seconds.
HANGS_S = 30.0
# Steps of SQLite between two looks at the clock.
STEPS = 10_000
# Bytes of a value, and of a statement of the schema, that SQLite reads (from Python 3.11).
LONGEST_VALUE = 2 * LONGEST_ROW
# Number of writes between two counts of the rows, which take milliseconds.
PRUNE_EVERY = 256

OBJECTS = {
    "words": "CREATE TABLE words (key BLOB PRIMARY KEY, words TEXT NOT NULL, used REAL NOT NULL) "
    "WITHOUT ROWID",
    "words_used": "CREATE INDEX words_used ON words (used)",
}
SCHEMA = (*OBJECTS.values(), f"PRAGMA application_id = {APPLICATION_ID}")
# A file of others may be a trap: https://sqlite.org/security.html.
DEFENCES = (
    "PRAGMA trusted_schema = OFF",
    "PRAGMA cell_size_check = ON",
    "PRAGMA mmap_size = 0",
)
PRUNE = (
    "DELETE FROM words WHERE key IN (SELECT key FROM words ORDER BY used "
    "LIMIT max(0, (SELECT count(*) FROM words) - ?))"
)


class DescriptionFile:
    """Keeps at most ``limit`` descriptions, the most recently used ones. For one thread only.

    All methods raise sqlite3.Error or OSError if the file cannot be used.
    """

    def __init__(self, path: Path, limit: int, limits: Limits = ANSWER) -> None:
        """Open the file, or create it. ``limits``: those of the texts of a description."""
        self._limit, self._limits = limit, limits
        self._ends_s = time.monotonic() + SLOW_S
        self._used: set[bytes] = set()
        self._puts = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        if path.is_symlink() and not path.exists():
            raise OSError("it is a link to a file that does not exist")
        if path.exists() and not path.is_file():
            raise OSError("it is no regular file")
        _check_journal(path)
        self._connection = sqlite3.connect(path, timeout=BUSY_S, isolation_level=None)
        try:
            self._prepare()
        except BaseException:
            self._connection.close()
            raise

    def _prepare(self) -> None:
        # Bytes, because a text may be no UTF-8.
        self._connection.text_factory = bytes
        self._connection.set_progress_handler(lambda: time.monotonic() > self._ends_s, STEPS)
        if sys.version_info >= (3, 11):
            self._connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, LONGEST_VALUE)
        for statement in DEFENCES:
            self._connection.execute(statement)
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
        if owner:
            rows = self._connection.execute("SELECT name, sql FROM sqlite_master LIMIT 10")
            found = {(name, sql) for name, sql in rows}
            # A trigger or a view would run what its author likes.
            if found != {(name.encode(), sql.encode()) for name, sql in OBJECTS.items()}:
                raise sqlite3.DatabaseError("it has other tables than this package makes")
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
        self._ends_s = time.monotonic() + SLOW_S
        return self._read(key)

    def _read(self, key: bytes) -> Description | None:
        try:
            row = self._connection.execute(
                "SELECT words FROM words WHERE key = ?", (key,)
            ).fetchone()
        except sqlite3.DataError:  # It is longer than LONGEST_VALUE.
            return None
        found = read_row(row[0], self._limits) if row else None
        if found is not None:
            self._used.add(key)
        return found

    def put(self, key: bytes, description: Description) -> Description:
        """Write a description, and return the one that is in the file.

        That is another one if another process was faster. The file is written when this returns.
        A description whose texts exceed the limits is not written.
        """
        content = write_row(description, self._limits)
        if content is None:
            return description
        self._ends_s = time.monotonic() + SLOW_S
        with self._transaction():
            first = self._read(key)
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
        self._ends_s = time.monotonic() + SLOW_S
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


def _check_journal(path: Path) -> None:
    real = path.resolve()  # SQLite follows a link, and looks for the journal beside its target.
    journal = real.with_name(f"{real.name}-journal")
    if journal.exists() and (not journal.is_file() or names_other_file(journal)):
        raise OSError(f"{journal.name} beside it is no journal of this package; remove it")


Use = Callable[[DescriptionFile], "Description | None"]


class SharedDescriptionFile:
    """A DescriptionFile for any thread, which is opened and used in a thread of its own.

    A slow disk, or another process that locks the file, blocks only callers that wait for a result.
    If the file cannot be used, one warning is logged and every result is None from then on.
    """

    def __init__(self, path: Path, limit: int, consequence: str, limits: Limits = ANSWER) -> None:
        """``consequence``: ends the warning, and says what happens without the file."""
        self._path, self._limit, self._consequence = path, limit, consequence
        self._limits = limits
        self._file: DescriptionFile | None = None
        self._executor = ThreadPoolExecutor(1, thread_name_prefix="words-cache")
        self.warning = ""

    def submit(self, use: Use) -> Future[Description | None]:
        """Call ``use`` with the file in the thread; its result, or None if the file is unusable."""
        return self._executor.submit(self._run, use)

    def wait_for(self, use: Use) -> Description | None:
        """Return what a use of the file gives; a file that hangs is not used any more."""
        try:
            return self.submit(use).result(HANGS_S)
        except FutureTimeoutError:
            self.give_up_hanging()
            return None

    def give_up_hanging(self) -> None:
        """Use the file no more because it does not answer."""
        self.give_up(f"it does not answer within {HANGS_S:g} s")

    def _run(self, use: Use) -> Description | None:
        if self.warning:
            return None
        try:
            if self._file is None:
                self._file = DescriptionFile(self._path, self._limit, self._limits)
            return use(self._file)
        except (sqlite3.Error, OSError, ValueError) as error:
            self.give_up(printable(error, REASON))
            return None

    def give_up(self, reason: str) -> None:
        """Use the file no more, and say why."""
        if not self.warning:
            shown = printable(self._path, REASON)
            self.warning = (
                f"describer.cache_file: {shown} cannot be used ({reason}); {self._consequence}"
            )
            log.warning(self.warning)

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
