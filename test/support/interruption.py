"""Interruptions of the command line at points that a test chooses.

A point is an audit event of Python (``open``, ``os.rename`` ...) with a path, or one that a
describer of the tests raises with ``sys.audit``. The process interrupts itself when it arrives
there, so that no test depends on the speed of the machine.
"""

import fnmatch
import os
import signal
import sys
from typing import NamedTuple


class Point(NamedTuple):
    """The ``count``-th event of a name with a path that matches a pattern, before it happens."""

    event: str
    path: str = "*"
    count: int = 1


def scene(count):
    """When the ``count``-th scene of this process is about to be described."""
    return Point("test.scene", count=count)


def description(count):
    """When the ``count``-th description of this process is ready, and not yet used."""
    return Point("test.description", count=count)


def opening(path, count=1):
    return Point("open", path, count)


def renaming(path, count=1):
    return Point("os.rename", path, count)


def interrupt_at(points, number=signal.SIGKILL):
    """Send a signal to this process at the last of some points, which are reached in order."""
    remaining = list(points)
    matches = 0

    def hook(event, arguments):
        nonlocal matches
        if not remaining or event != remaining[0].event:
            return
        paths = [os.fsdecode(path) for path in arguments if isinstance(path, (str, os.PathLike))]
        if any(fnmatch.fnmatch(path, remaining[0].path) for path in paths or [""]):
            matches += 1
            if matches == remaining[0].count:
                matches = 0
                remaining.pop(0)
                if not remaining:
                    os.kill(os.getpid(), number)

    sys.addaudithook(hook)
