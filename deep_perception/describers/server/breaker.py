"""When a server that gives no answers is left alone, and when it is tried again."""

from __future__ import annotations

import time

# The breaker opens after so many regions in a row that got no answer at all ...
FAILURES = 3
# ... and lets one region try again after the first of these times, then after twice as long.
COOL_DOWN_S, LONGEST_COOL_DOWN_S = 5.0, 60.0
clock = time.monotonic


class Breaker:
    """Keeps a server that is gone from costing every region its time."""

    def __init__(self) -> None:
        """Closed: everything may go."""
        self.reason = ""
        self._failures = 0
        self._opened_s = 0.0
        self._cool_down_s = COOL_DOWN_S

    @property
    def state(self) -> str:
        """``closed``, ``open``, or ``half-open``: one request may go, and decides."""
        if not self.reason:
            return "closed"
        waited = clock() - self._opened_s >= self._cool_down_s
        return "half-open" if waited else "open"

    def succeed(self) -> None:
        """An answer came."""
        self.reason, self._failures, self._cool_down_s = "", 0, COOL_DOWN_S

    @property
    def wait_s(self) -> float:
        """Seconds until it is half-open."""
        return max(0.0, self._opened_s + self._cool_down_s - clock()) if self.reason else 0.0

    def fail(self, reason: str, *, at_once: bool = False, again_s: float | None = None) -> None:
        """No answer came; ``at_once``: and none will; ``again_s``: until then, it is known."""
        self._failures += 1
        if self.reason:
            if self.state != "half-open":
                return  # what was under way when it opened
            longer = max(COOL_DOWN_S, 2 * self._cool_down_s)
            self._cool_down_s = min(LONGEST_COOL_DOWN_S, longer)
        elif not at_once and self._failures < FAILURES:
            return
        if again_s is not None:
            self._cool_down_s = again_s
        self.reason, self._opened_s = reason, clock()
