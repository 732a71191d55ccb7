"""What a replay says while it runs: to a terminal, or from another process to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Note:
    """A line that is good to know."""

    text: str


@dataclass(frozen=True)
class Trouble:
    """A line of what is not as it should be."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """How far a recording is: ``share`` 0..1 of the step that is under way.

    ``calls`` and ``cache_hits`` are None for a describer that does not count them.
    """

    bag: str
    step: str
    share: float
    keyframes: int = 0
    regions: int = 0
    calls: int | None = None
    cache_hits: int | None = None


Tell = Callable[[Note | Trouble | Progress], None]
