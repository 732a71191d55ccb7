"""The choice of the frames of a recording: their topics, their times, and how many."""

from __future__ import annotations

import datetime
import difflib
import math
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from decimal import Decimal, InvalidOperation

from deep_perception.replay.recordings.bags import RecordedFrame
from deep_perception.replay.recordings.content import is_measurement, is_photograph
from deep_perception.replay.recordings.storage import MAX_NAMES
from deep_perception.stamps import NANOSECONDS
from deep_perception.untrusted.text import listed

EPOCH = datetime.datetime(1970, 1, 1, tzinfo=datetime.timezone.utc)
# One frame in 31 years; a longer period could exceed 64 bits of nanoseconds.
SLOWEST_HZ = 1e-9
COMPRESSED = "/compressed"
# More image topics than any robot has: to choose among them, the first image of each is read.
MAX_TOPICS = 1000


class ChoiceError(ValueError):
    """A recording contains nothing of the choice; the message says what it contains."""


@dataclass(frozen=True)
class Moment:
    """A time of a recording: ``ns`` since its start or, if ``absolute``, since 1970."""

    ns: int
    absolute: bool = False

    @classmethod
    def read(cls, text: str) -> Moment:
        """Parse seconds from the start (12.5), a UNIX time (@1767225600.5), or ISO 8601.

        A date without a zone is UTC, as the stamps are. Raises ValueError.
        """
        if (seconds := _seconds(text.removeprefix("@"))) is not None:
            return cls(seconds, absolute=text.startswith("@"))
        try:
            # Python 3.10 does not parse the Z.
            moment = datetime.datetime.fromisoformat(re.sub("[zZ]$", "+00:00", text))
        except ValueError:
            raise ValueError(
                f"{text!r} is no time; expected seconds from the bag's start (12.5), a UNIX time "
                "(@1767225600.5) or a date (2026-01-01T00:00:10.5+00:00, UTC without a zone)"
            ) from None
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=datetime.timezone.utc)
        microseconds = (moment - EPOCH) // datetime.timedelta(microseconds=1)
        return cls(microseconds * 1000, absolute=True)

    def of(self, start_ns: int) -> int:
        """Return nanoseconds since 1970 for a recording that starts at ``start_ns``."""
        return self.ns if self.absolute else start_ns + self.ns


def _seconds(text: str) -> int | None:
    try:
        number = Decimal(text)
    except InvalidOperation:
        return None
    if not number.is_finite() or number < 0 or number > 10**10:
        return None
    return int(number * NANOSECONDS)


@dataclass(frozen=True, kw_only=True)
class Choice:
    """The choice of frames, from ``start`` on and before ``stop``.

    Empty ``topics`` choose all that show photographs. Of each topic every ``every``-th frame is
    taken or, if ``rate_hz`` is not 0, at most that many a second.
    """

    topics: tuple[str, ...] = ()
    start: Moment | None = None
    stop: Moment | None = None
    every: int = 1
    rate_hz: float = 0.0

    def span(self, start_ns: int, end_ns: int) -> tuple[int, int]:
        """Return the first nanosecond and the one after the last. Raises ChoiceError."""
        first = self.start.of(start_ns) if self.start else start_ns
        stop = self.stop.of(start_ns) if self.stop else end_ns + 1
        first, stop = max(first, start_ns), min(stop, end_ns + 1)
        if first >= stop:
            seconds = (end_ns - start_ns) / NANOSECONDS
            raise ChoiceError(
                f"nothing was recorded between --from and --to; the recording is {seconds:.1f} s "
                f"long and starts at {_iso(start_ns)}"
            )
        return first, stop


def _iso(ns: int) -> str:
    moment = EPOCH + datetime.timedelta(microseconds=ns // 1000)
    return moment.isoformat(timespec="milliseconds")


def choose_topics(
    found: Mapping[str, tuple[str, int]],
    wanted: Sequence[str],
    encoding_of: Callable[[str], str] = lambda topic: "",
) -> tuple[list[str], dict[str, str]]:
    """Return the image topics to take, and those that are left out with the reason.

    ``found`` is the type and number of messages of each image topic. ``encoding_of`` returns the
    encoding of the first image of a topic, "" if it is unknown. Raises ChoiceError.
    """
    # A recorder also lists topics without messages.
    known = [topic for topic, (_, count) in found.items() if count]
    if not known:
        raise ChoiceError("it holds no images (sensor_msgs/msg/Image or CompressedImage)")
    if wanted:
        for topic in wanted:
            if topic not in known:
                raise ChoiceError(f"there is no image topic {topic!r}{_advice(topic, known)}")
        return sorted(set(wanted)), {}
    if len(known) > MAX_TOPICS:
        raise ChoiceError(f"it has {len(known)} image topics; choose some with --topic")
    left_out: dict[str, str] = {}
    measured: dict[str, str] = {}
    for topic in known:
        raw = topic.removesuffix(COMPRESSED)
        if raw != topic and raw in known:
            left_out[topic] = f"{raw} shows the same"
        elif not is_photograph(topic, encoding := encoding_of(topic)):
            left_out[topic] = "by its name it shows no photographs"
        elif is_measurement(topic, encoding):
            measured[topic] = f"{encoding} is an encoding of depth"
    if set(known) - set(left_out) - set(measured):
        # Where they are all that there is, they may be those of a thermal camera.
        left_out |= measured
    taken = sorted(set(known) - set(left_out))
    if not taken:
        raise ChoiceError(
            f"no image topic looks like a camera's: {_list(known)}; choose with --topic"
        )
    return taken, left_out


def _advice(topic: str, known: Iterable[str]) -> str:
    known = list(known)
    # The compressed topic of the same camera is a better guess than a similar spelling.
    near = [name for name in known if name.startswith(f"{topic}/")]
    near = near or difflib.get_close_matches(topic, known[:MAX_TOPICS], n=1)
    return f"; did you mean {near[0]!r}?" if near else f"; there is {_list(known)}"


def _list(topics: Iterable[str]) -> str:
    return listed(sorted(topics), MAX_NAMES)


@dataclass
class Sampler:
    """Takes every Nth frame of each topic, or a number of frames a second by time of recording.

    Any period contains at most two frames more than its share of the rate.
    """

    every: int
    rate_hz: float
    start_ns: int
    _counts: dict[str, int] = field(default_factory=dict)
    _due_ns: dict[str, int] = field(default_factory=dict)

    def takes(self, frame: RecordedFrame) -> bool:
        """Return whether to take the next frame. Call it once for each frame, in order."""
        if self.rate_hz:
            period_ns = math.ceil(NANOSECONDS / max(self.rate_hz, SLOWEST_HZ))
            # The period counts from the time at which the last frame was due, not from its arrival,
            # and a frame may be half a period early. A camera of that rate with jitter therefore
            # loses no frame, and one of 30 Hz gives ten frames a second for 10 Hz.
            early_ns = period_ns // 2
            due_ns = self._due_ns.get(frame.topic, self.start_ns)
            taken = frame.log_ns >= due_ns - early_ns
            if taken:
                # Frames that were missing during a pause are not made up for.
                self._due_ns[frame.topic] = max(due_ns, frame.log_ns - early_ns) + period_ns
            return taken
        count = self._counts.get(frame.topic, 0)
        self._counts[frame.topic] = count + 1
        return count % self.every == 0
