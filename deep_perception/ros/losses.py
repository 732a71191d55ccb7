"""Frames that are lost before they reach the node: how many, and how one can tell.

A middleware that counts what a publisher sends tells it exactly. Otherwise, and for frames that are
lost before they are published, there are the stamps: a camera has a steady period, so that frames
that are lost at random leave gaps of twice, three times, four times that period. A camera that is
slow, uneven, throttled or slower in the dark leaves no such gaps.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field

import numpy as np

# The time that is judged, in buckets of a second; in so many of them frames must be missing. A
# burst of losses at the start of a node is no fault of the network.
WINDOW_S, LOSSY_BUCKETS = 10, 4
# The numbers of the frames go back this often within the window if several publishers send them.
MIXED_STEPS = 4
# Less is harmless: most frames of a still view are not looked at anyway.
MIN_SHARE, MIN_LOST = 0.2, 5
# The number of stamps that are judged.
GAPS = 60
MIN_GAPS = 20
# The gaps are multiples of a period within this share of the period.
TOLERANCE = 0.12
# A frame that waited longer in the queue of the subscription hints at a node that was too slow to
# take the ones before it.
LATE_S = 0.1


@dataclass(frozen=True, kw_only=True)
class Loss:
    """Rates of what is sent and of what arrives, in Hz.

    ``is_counted``: by the middleware; otherwise the frames are missing between the stamps.
    """

    sent_hz: float
    arriving_hz: float
    is_counted: bool


@dataclass
class _Bucket:
    second: int
    received: int = 0
    lost: int = 0


@dataclass
class Losses:
    """Counts the frames of one publisher. ``lost`` is the number since the start."""

    lost: int = 0
    _sequence: int | None = None
    _steps_back_s: deque[float] = field(default_factory=lambda: deque(maxlen=MIXED_STEPS))
    _buckets: deque[_Bucket] = field(default_factory=lambda: deque(maxlen=WINDOW_S + 1))
    _stamps_ns: deque[int] = field(default_factory=lambda: deque(maxlen=GAPS + 1))

    def add(
        self, *, sequence: int | None, stamp_ns: int, arrival_s: float, waited_s: float
    ) -> None:
        """Count a frame.

        ``sequence`` is its number among all that the publisher has sent, None if it is unknown.
        ``waited_s`` is the time between its arrival at the middleware and at the node.
        """
        second = int(arrival_s)
        if not self._buckets or self._buckets[-1].second != second:
            self._buckets.append(_Bucket(second))
        bucket = self._buckets[-1]
        bucket.received += 1
        before, self._sequence = self._sequence, sequence
        if before is not None and sequence is not None and sequence <= before:
            self._steps_back_s.append(arrival_s)
        # Another publisher has another sequence.
        if before is not None and sequence is not None and sequence > before:
            missing = sequence - before - 1
            if waited_s < LATE_S:
                bucket.lost += missing
                self.lost += missing
        self._stamps_ns.append(stamp_ns)

    def are_mixed(self, now_s: float) -> bool:
        """Whether several publishers send in turn: one that follows another does that once."""
        steps_s = self._steps_back_s
        return len(steps_s) == MIXED_STEPS and now_s - steps_s[0] <= WINDOW_S

    def loss(self, now_s: float) -> Loss | None:
        """Return what is lost lately, or None if it is little."""
        recent = [
            each for each in tuple(self._buckets) if now_s - WINDOW_S - 1 <= each.second < now_s - 1
        ]
        received, lost = sum(b.received for b in recent), sum(b.lost for b in recent)
        if not received:
            return None
        seconds = max(recent[-1].second - recent[0].second + 1, 1)
        sent = received + lost
        lossy = sum(bucket.lost > 0 for bucket in recent)
        if lost >= MIN_LOST and lost >= MIN_SHARE * sent and lossy >= LOSSY_BUCKETS:
            return Loss(sent_hz=sent / seconds, arriving_hz=received / seconds, is_counted=True)
        return missing_between(list(self._stamps_ns))


def missing_between(stamps_ns: list[int]) -> Loss | None:
    """Return the loss that the gaps between stamps in nanoseconds show, or None."""
    gaps_s = np.diff(np.array(stamps_ns, np.float64)) / 1e9
    if len(gaps_s) < MIN_GAPS or (gaps_s <= 0).any():
        return None
    # The shortest gaps are the period, unless every second frame is lost in a steady rhythm.
    # It is one of them: between two lengths there would be no gap that is near.
    shortest_s = float(np.quantile(gaps_s, 0.1, method="lower"))
    near = gaps_s[np.abs(gaps_s / shortest_s - 1) < TOLERANCE]
    period_s = float(near.mean())
    steps = np.rint(gaps_s / period_s)
    counts = np.bincount(np.minimum(steps, 9).astype(int), minlength=10)
    is_grid = (np.abs(gaps_s / period_s - steps) < TOLERANCE * np.minimum(steps, 3)).mean() > 0.95
    # Several lengths in an irregular order: a rhythm, or a change of the rate, has few changes or
    # few lengths.
    lengths = int((counts >= max(2, 0.05 * len(gaps_s))).sum())
    changes = float((np.diff(steps) != 0).mean())
    missing = float((steps - 1).sum())
    share = missing / (missing + len(gaps_s))
    if not is_grid or lengths < 3 or changes < 0.4 or share < MIN_SHARE or counts[0]:
        return None
    if _repeats(steps):
        return None
    span_s = float(gaps_s.sum())
    return Loss(sent_hz=1 / period_s, arriving_hz=len(gaps_s) / span_s, is_counted=False)


def _repeats(steps: np.ndarray[tuple[int], np.dtype[np.float64]]) -> bool:
    """Whether the gaps are a rhythm: a sensor that skips frames on purpose does it regularly."""
    return any((steps[lag:] == steps[:-lag]).mean() > 0.85 for lag in range(1, 11))
