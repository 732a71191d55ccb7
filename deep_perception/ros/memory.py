"""Keep the memory of large messages in the process for a while: reusing it causes no page faults.

What is free is returned to the kernel now and then. Otherwise each thread would keep what it needed
at its busiest moment, and the memory of the node would grow for an hour.
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import gc

# Seconds between two calls of return_freed_memory, whose page faults then take some milliseconds.
RETURN_PERIOD_S = 30.0
# Constants of glibc's <malloc.h>; 32 MB is the largest threshold that it accepts.
M_TRIM_THRESHOLD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -3, -8
KEEP_BYTES, IN_HEAP_BYTES = 256 * 2**20, 32 * 2**20


def keep_freed_memory() -> None:
    """Reuse freed blocks of up to 32 MB instead of returning them to the kernel.

    The newest frame is kept while the next one is deserialized, so two blocks alternate, and glibc
    would map and clear each of them anew, which takes 4 ms instead of 1 ms for a frame of
    1920x1080. All threads share one arena: with an arena for each, the memory of the node grew by
    24 MB in a quarter of an hour. With another C library than glibc this does nothing.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = _libc().mallopt
        mallopt(M_ARENA_MAX, 1)
        mallopt(M_MMAP_THRESHOLD, IN_HEAP_BYTES)
        mallopt(M_TRIM_THRESHOLD, KEEP_BYTES)


def keep_started_objects() -> None:
    """Let Python's garbage collector leave alone what the start has made, half a million objects.

    It looks at all objects only if a quarter of them is new, so that otherwise the images and masks
    in a few cycles of objects would wait for many minutes.
    """
    gc.collect()
    gc.freeze()


def return_freed_memory() -> None:
    """Return all memory that is free to the kernel, which other C libraries than glibc do not."""
    gc.collect()
    with contextlib.suppress(OSError, AttributeError):
        _libc().malloc_trim(0)


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL("libc.so.6")
