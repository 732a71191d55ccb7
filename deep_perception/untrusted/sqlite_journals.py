"""Journals that lie beside SQLite files of others."""

from __future__ import annotations

from pathlib import Path

# This ends a journal that names another file, which SQLite would read, and then delete.
_MAGIC = b"\xd9\xd5\x05\xf9\x20\xa1\x63\xd7"


def names_other_file(journal: Path) -> bool:
    """Whether a journal of SQLite ends with the name of another file, as of several databases."""
    with journal.open("rb") as file:
        size = file.seek(0, 2)
        file.seek(max(0, size - len(_MAGIC)))
        return size > 2 * len(_MAGIC) and file.read() == _MAGIC
