"""Where files are written: a folder may come from somebody else, with links in it."""

from __future__ import annotations

import stat
from contextlib import suppress
from pathlib import Path


def make_way(path: Path) -> None:
    """Remove what a file would be written through: a link, a pipe, another name of a file.

    A regular file is left, to be overwritten. Raises OSError.
    """
    with suppress(FileNotFoundError):
        found = path.lstat()
        if not stat.S_ISREG(found.st_mode) or found.st_nlink > 1:
            path.unlink()
