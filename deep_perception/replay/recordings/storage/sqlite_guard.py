"""SQLite files of others: what is in one runs no code, and takes no time or memory without end.

The schema of a file is SQL that runs when a table is read: a view that counts for ever, a column
that is calculated, a virtual table. Damaged pages can refer to each other in circles. See
https://www.sqlite.org/security.html.
"""

from __future__ import annotations

import sqlite3

from deep_perception.replay.recordings.storage import LARGEST_MESSAGE

_TABLES = ("topics", "messages")
# SQLITE_LIMIT_LENGTH, the largest value.
_LIMIT_LENGTH = 0
_FUNCTIONS = ("count", "min", "max")
# Steps of SQLite's machine: a message takes about twenty when it is counted, and has eight bytes.
_STEPS_PER_BYTE, _ALWAYS_STEPS, _STEPS_AT_ONCE = 40, 50_000_000, 100_000


def guarded(database: sqlite3.Connection, size: int) -> sqlite3.Connection:
    """Return a new connection to a file of so many bytes, for ``topics`` and ``messages`` only.

    Raises sqlite3.Error, also if one of the two is not a plain table.
    """
    if hasattr(database, "setlimit"):  # From Python 3.11 on.
        database.setlimit(_LIMIT_LENGTH, min(LARGEST_MESSAGE, 10**9))
    # Without writable_schema, SQLite refuses a truncated file.
    for setting in ("writable_schema=ON", "trusted_schema=OFF", "cell_size_check=ON",
                    "mmap_size=0", "temp_store=MEMORY"):  # fmt: skip
        database.execute(f"PRAGMA {setting}")
    for table in _TABLES:
        columns = database.execute(f"PRAGMA table_xinfo({table})").fetchall()
        kinds = database.execute("SELECT type, sql FROM sqlite_master WHERE name = ?", (table,))
        for kind, sql in kinds.fetchall():
            is_plain = kind == "table" and str(sql).upper().startswith("CREATE TABLE")
            if not is_plain or any(column[6] for column in columns):
                raise sqlite3.DatabaseError(f"{table} is not a plain table")
    database.set_authorizer(_authorize)
    database.set_progress_handler(_Steps(size).count, _STEPS_AT_ONCE)
    return database


class _Steps:
    """Counts the steps of all queries, of which each takes some for every byte of the file."""

    def __init__(self, size: int) -> None:
        self._left = _ALWAYS_STEPS + _STEPS_PER_BYTE * size

    def count(self) -> bool:
        self._left -= _STEPS_AT_ONCE
        return self._left < 0


def _authorize(
    action: int, one: str | None, two: str | None, name: str | None, source: str | None
) -> int:
    is_allowed = source is None and (
        action == sqlite3.SQLITE_SELECT
        or (action == sqlite3.SQLITE_READ and one in _TABLES)
        or (action == sqlite3.SQLITE_FUNCTION and (two or "").lower() in _FUNCTIONS)
    )
    return sqlite3.SQLITE_OK if is_allowed else sqlite3.SQLITE_DENY
