"""Start processes of Python so that they import nothing from the working folder.

The working folder of a replay is often that of the recordings, which may come from somebody else.
Python (with ``-c``, as in processes that are spawned) and Ray put the working folder in front of
the folders of modules: a file ``numpy.py`` or ``pickle.py`` there would be run.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Modules are imported from it anyway, and before those of all other folders.
NEUTRAL = Path(os.__file__).parent


@contextmanager
def neutral_folder() -> Iterator[Path]:
    """Work in the folder of Python's own modules meanwhile; yield the folder before. No threads."""
    home = Path.cwd()
    os.chdir(NEUTRAL)
    try:
        yield home
    finally:
        os.chdir(home)


def imports_from_working_folder() -> bool:
    """Whether this process does so: by ``python -m``, or ``PYTHONPATH``, of the user's choice."""
    return Path.cwd() in (Path(folder).resolve() for folder in sys.path)
