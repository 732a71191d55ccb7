"""The events that a replay emits while it runs, to a terminal or from another process to one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Notice:
    """A line of information for the user."""

    text: str


@dataclass(frozen=True)
class Problem:
    """A line about something that is wrong or not used as set."""

    text: str


@dataclass(frozen=True, kw_only=True)
class Progress:
    """The progress of a recording: ``share`` is 0..1 of the current step.

    ``calls`` and ``cache_hits`` are None for a describer that does not count them.
    """

    bag: str
    step: str
    share: float
    keyframes: int = 0
    regions: int = 0
    calls: int | None = None
    cache_hits: int | None = None


Event = Notice | Problem | Progress
Emit = Callable[[Event], None]
