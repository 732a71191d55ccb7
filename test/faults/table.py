"""The table of faults: each is a small function of the world and of a source of chance.

A fault is a generator with one ``yield``: what is before it begins the fault, what is after it ends
the fault. The functions of a module of faults are entered by ``@fault``.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class Fault:
    """One row of the table.

    ``weight``: how often it is drawn. ``stops_all``: the healthy camera may rest while it lasts.
    """

    name: str
    make: object
    weight: float
    stops_all: bool

    def lasting(self, world, chance):
        """Return a context manager; the fault lasts while it is entered."""
        return contextlib.contextmanager(self.make)(world, chance)


FAULTS = {}


def fault(*, weight=1.0, stops_all=False):
    """Enter a function into the table as ``module.function``."""

    def enter(function):
        name = f"{function.__module__.rpartition('.')[2]}.{function.__name__}"
        FAULTS[name] = Fault(name=name, make=function, weight=weight, stops_all=stops_all)
        return function

    return enter
