"""Stamps of frames: whole nanoseconds, as a ``builtin_interfaces/Time`` of ROS holds them.

Keyframes and tracks count on stamps that advance as time does. Drivers also leave them empty,
repeat one for ever, mix two clocks, or confuse milliseconds with seconds: then the time of arrival
(in a recording: of the recorder) is used.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, field

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second."""

# Frames arrive out of order by less than this; a recording that starts again steps back further.
OVERTAKING_NS = NANOSECONDS

# Stamps stand still if they advance by less than this share of the time in which frames arrive: a
# recording is played more slowly by a factor of ten, but not of 200.
STILL_SHARE = 1 / 200
# Frames that waited together arrive within no time, so a smaller step is none whatever the arrival:
# no camera sends a thousand images a second.
MIN_STEP_NS = NANOSECONDS // 1000
# Some clocks have whole seconds only, so that stamps stand still for a second.
STILL_AFTER_NS, STILL_FRAMES = 2 * NANOSECONDS, 3
# Two clocks are one if they differ by less: frames are late by some hundredths of a second.
SAME_CLOCK_NS = NANOSECONDS // 4
# Stamps that go back to a clock of this last time are of two clocks: a recording that is played in
# a loop goes back as well, but never to an earlier relation to the time.
REMEMBER_NS, MAX_CLOCKS = 60 * NANOSECONDS, 8
# Milliseconds in the field of seconds. No player is as fast, and the factor is that of a unit.
WRONG_UNITS, UNIT_TOLERANCE = (10**3, 10**6, 10**9), 0.05
WRONG_UNIT_AFTER_NS, WRONG_UNIT_FRAMES = NANOSECONDS // 2, 3
# A single stamp that is farther ahead is an error of that frame. If the next one agrees, the clock
# was set.
DOUBTFUL_NS = 600 * NANOSECONDS
# Where arrival time is earlier than the last stamp by no more than this, the difference stays, so
# that time does not go back, which would start everything anew.
MAX_BIAS_NS = 3600 * NANOSECONDS
MISSING = "have no stamp"
# Bytes of a frame id. tf2 takes any text that is not empty and does not begin with a slash. Frames
# of robots have some ten characters, with namespaces some more. They are repeated in every message
# and report, and the length in a message of somebody else may be that of the whole message.
MAX_FRAME_ID = 256
# After this time of stamps that agree with the arrival, they are trusted again.
TRUST_AFTER_NS = 10 * NANOSECONDS


def header_of(data: bytes) -> tuple[int, str]:
    """Return stamp (ns) and frame id of a CDR message that starts with a header.

    They are 0 and "" if the message is too short.
    """
    try:
        order = "<" if data[1] & 1 else ">"
        seconds, nanoseconds, length = struct.unpack_from(f"{order}iII", data, 4)
    except (IndexError, struct.error):
        return 0, ""
    frame_id = data[16 : 16 + min(length, MAX_FRAME_ID)].partition(b"\0")[0]
    return seconds * NANOSECONDS + nanoseconds, frame_id.decode(errors="replace")


@dataclass
class _Standstill:
    """Finds stamps that do not advance while frames arrive."""

    newest_ns: int | None = None
    arrival_ns: int = 0
    since_ns: int = 0
    frames: int = 0

    def fault(self, stamp_ns: int, arrival_ns: int) -> str:
        last_ns, self.arrival_ns = self.arrival_ns, arrival_ns
        newest_ns = self.newest_ns
        is_back = newest_ns is not None and stamp_ns < newest_ns - OVERTAKING_NS
        if newest_ns is None or is_back:
            self.newest_ns, self.since_ns, self.frames = stamp_ns, arrival_ns, 0
            return ""
        # One frame that advances is enough: after a pause of the player, the first one does not.
        step_ns = stamp_ns - newest_ns
        self.newest_ns = max(stamp_ns, newest_ns)
        if step_ns >= max(MIN_STEP_NS, (arrival_ns - last_ns) * STILL_SHARE):
            self.since_ns, self.frames = arrival_ns, 0
            return ""
        self.frames += 1
        elapsed_ns = arrival_ns - self.since_ns
        if elapsed_ns < STILL_AFTER_NS or self.frames < STILL_FRAMES:
            return ""
        return f"have stamps that stand still while {elapsed_ns / NANOSECONDS:.0f} s pass"


@dataclass
class _Clocks:
    """Finds stamps that jump between clocks, by their offset from the arrival."""

    newest_ns: int | None = None
    # Earlier offsets, and when they were seen last.
    known: dict[int, int] = field(default_factory=dict)

    def fault(self, stamp_ns: int, arrival_ns: int, *, several_senders: bool) -> str:
        newest_ns, offset_ns = self.newest_ns, arrival_ns - stamp_ns
        # A frame that arrives late has another offset, too, but its stamp does not go back.
        is_back = newest_ns is not None and stamp_ns < newest_ns - OVERTAKING_NS
        self.newest_ns = stamp_ns if newest_ns is None or is_back else max(stamp_ns, newest_ns)
        same = [known for known in self.known if abs(known - offset_ns) <= SAME_CLOCK_NS]
        others = [known for known in self.known if abs(known - offset_ns) > OVERTAKING_NS]
        was_seen = any(arrival_ns - self.known[known] <= REMEMBER_NS for known in same)
        last = max(others, key=self.known.__getitem__, default=offset_ns)
        for known in same:
            del self.known[known]
        self.known[offset_ns] = arrival_ns
        if len(self.known) > MAX_CLOCKS:
            del self.known[min(self.known, key=self.known.__getitem__)]
        if not is_back or not (was_seen or several_senders):
            return ""
        apart_s = abs(offset_ns - last) / NANOSECONDS
        return f"have stamps of clocks that are {apart_s:.1f} s apart"


@dataclass
class _WrongUnit:
    """Finds stamps whose seconds are milliseconds, microseconds or nanoseconds."""

    first_ns: int | None = None
    arrival_ns: int = 0
    newest_ns: int = 0
    frames: int = 0
    # Stamps that count whole seconds from a fraction on are made, and not scaled.
    has_scaled_fractions: bool = False

    def fault(self, stamp_ns: int, arrival_ns: int) -> str:
        if self.first_ns is None or stamp_ns < self.newest_ns:
            self._start(stamp_ns, arrival_ns)
            return ""
        fraction_ns = stamp_ns % NANOSECONDS
        if not fraction_ns or fraction_ns != self.newest_ns % NANOSECONDS:
            self.has_scaled_fractions = True
        self.newest_ns = stamp_ns
        self.frames += 1
        elapsed_ns = arrival_ns - self.arrival_ns
        if elapsed_ns < WRONG_UNIT_AFTER_NS or self.frames < WRONG_UNIT_FRAMES:
            return ""
        factor = (stamp_ns - self.first_ns) / elapsed_ns
        is_scaled = self.has_scaled_fractions
        self._start(stamp_ns, arrival_ns)
        for unit in WRONG_UNITS:
            if is_scaled and abs(factor / unit - 1) <= UNIT_TOLERANCE:
                return f"have stamps that run {unit} times as fast as time"
        return ""

    def _start(self, stamp_ns: int, arrival_ns: int) -> None:
        self.first_ns = self.newest_ns = stamp_ns
        self.arrival_ns, self.frames, self.has_scaled_fractions = arrival_ns, 0, False


@dataclass
class FrameStamps:
    """Chooses between stamp and time of arrival for the frames of one camera, in their order.

    ``problem`` is what is wrong with the stamps, to follow "the images of TOPIC", and "" while
    they are used.
    """

    problem: str = ""
    _standstill: _Standstill = field(default_factory=_Standstill)
    _clocks: _Clocks = field(default_factory=_Clocks)
    _wrong_unit: _WrongUnit = field(default_factory=_WrongUnit)
    _good_since_ns: int | None = None
    # Arrival minus stamp of the last good frame, and of a doubtful one after it.
    _offset_ns: int | None = None
    _doubt_ns: int | None = None
    _last_ns: int = 0
    _bias_ns: int = 0
    _arrival_ns: int = 0

    def effective_ns(self, stamp_ns: int, arrival_ns: int, *, several_senders: bool = False) -> int:
        """Return the time of a frame: its stamp, or its arrival while stamps are of no use.

        A stamp of 0 or less is none. ``several_senders``: the frames of several publishers are
        mixed, so that stamps that go back prove two clocks at once.
        """
        if arrival_ns < self._arrival_ns - OVERTAKING_NS:
            # Simulated time starts again, and the stamps with it, or the computer's clock was set.
            self.__init__()  # type: ignore[misc]
        self._arrival_ns = arrival_ns
        self._last_ns = self._effective_ns(stamp_ns, arrival_ns, several_senders)
        return self._last_ns

    def _effective_ns(self, stamp_ns: int, arrival_ns: int, several_senders: bool) -> int:
        if stamp_ns <= 0:
            self.problem = self.problem or MISSING
            # Between frames with stamps, arrival is converted to their clock.
            offset_ns = self._offset_ns or 0
            return arrival_ns - offset_ns if self.problem == MISSING else self._arrival(arrival_ns)
        if self.problem == MISSING:
            self.problem = ""
        fault = self._wrong_unit.fault(stamp_ns, arrival_ns)
        if not fault and not self.problem and self._is_doubtful(arrival_ns - stamp_ns):
            return arrival_ns - (self._offset_ns or 0)
        fault = (
            fault
            or self._clocks.fault(stamp_ns, arrival_ns, several_senders=several_senders)
            or self._standstill.fault(stamp_ns, arrival_ns)
        )
        if fault:
            if not self.problem:
                back_ns = self._last_ns - arrival_ns
                self._bias_ns = back_ns if 0 < back_ns <= MAX_BIAS_NS else 0
            self.problem, self._good_since_ns = fault, None
        elif self.problem and self._is_trusted(stamp_ns, arrival_ns):
            self.problem = ""
        if self.problem:
            return self._arrival(arrival_ns)
        self._offset_ns = arrival_ns - stamp_ns
        return stamp_ns

    def _arrival(self, arrival_ns: int) -> int:
        return arrival_ns + self._bias_ns

    def _is_doubtful(self, offset_ns: int) -> bool:
        before_ns, self._doubt_ns = self._doubt_ns, None
        if self._offset_ns is None or offset_ns > self._offset_ns - DOUBTFUL_NS:
            return False
        if before_ns is not None and abs(offset_ns - before_ns) <= OVERTAKING_NS:
            return False
        self._doubt_ns = offset_ns
        return True

    def _is_trusted(self, stamp_ns: int, arrival_ns: int) -> bool:
        # The change back must be no jump.
        if abs(arrival_ns - stamp_ns) > OVERTAKING_NS:
            self._good_since_ns = None
        elif self._good_since_ns is None:
            self._good_since_ns = arrival_ns
        since_ns = self._good_since_ns
        return since_ns is not None and arrival_ns - since_ns >= TRUST_AFTER_NS
