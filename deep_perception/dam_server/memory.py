"""Memory of this process that is free, and given back to the system."""

from __future__ import annotations

import contextlib
import ctypes
import sys


def return_memory() -> None:
    """Give free memory back, if the C library can do that (glibc).

    It keeps the memory of the large blocks of an image for the thread that decoded it.
    """
    if sys.platform == "linux":
        with contextlib.suppress(OSError, AttributeError):
            ctypes.CDLL(None).malloc_trim(0)
