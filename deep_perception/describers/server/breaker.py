"""A circuit breaker: when a server that gives no answers is left alone, and when it is retried."""

from __future__ import annotations

import time

# The breaker opens after this number of regions in a row that got no answer.
FAILURES = 3
# An open breaker lets one region through after the first time; each failure doubles the time.
COOL_DOWN_S, LONGEST_COOL_DOWN_S = 5.0, 60.0
clock = time.monotonic


class Breaker:
    """Prevents that each region waits for a server that does not answer.

    Nygard 2007, "Release It!".
    """

    def __init__(self) -> None:
        """Start closed."""
        self.reason = ""
        self._failures = 0
        self._opened_s = 0.0
        self._cool_down_s = COOL_DOWN_S

    @property
    def state(self) -> str:
        """``closed``: requests may be sent; ``open``: none; ``half-open``: one, which decides."""
        if not self.reason:
            return "closed"
        waited = clock() - self._opened_s >= self._cool_down_s
        return "half-open" if waited else "open"

    def succeed(self) -> None:
        """Close the breaker: the server answered."""
        self.reason, self._failures, self._cool_down_s = "", 0, COOL_DOWN_S

    @property
    def wait_s(self) -> float:
        """Seconds until the breaker is half-open."""
        return max(0.0, self._opened_s + self._cool_down_s - clock()) if self.reason else 0.0

    def fail(
        self, reason: str, *, at_once: bool = False, retry_after_s: float | None = None
    ) -> None:
        """Count a request without an answer.

        ``at_once`` opens the breaker at the first failure. ``retry_after_s`` replaces the time
        until it is half-open, where the server tells it.
        """
        self._failures += 1
        if self.reason:
            if self.state != "half-open":
                return  # This request was on its way when the breaker opened.
            longer = max(COOL_DOWN_S, 2 * self._cool_down_s)
            self._cool_down_s = min(LONGEST_COOL_DOWN_S, longer)
        elif not at_once and self._failures < FAILURES:
            return
        if retry_after_s is not None:
            self._cool_down_s = retry_after_s
        self.reason, self._opened_s = reason, clock()
