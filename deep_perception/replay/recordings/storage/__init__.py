"""The files of a recording, of every format, as stretches of messages that are merged by time.

A stretch is read as a whole: a chunk of an .mcap file, or a whole file of another format. Only the
stretches around the current time are in memory.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from itertools import accumulate, chain
from typing import NamedTuple, Protocol, TypeAlias

from deep_perception.images.pixels import MAX_MESSAGE_BYTES


class BagError(ValueError):
    """A recording cannot be read or written; one line says which one, why, and what to do."""


class Topic(NamedTuple):
    """A topic with one of its types, in ROS 2 form: ``sensor_msgs/msg/Image``."""

    name: str
    type: str


class Message(NamedTuple):
    """A message as CDR. ``problem`` says why ``data`` is empty, for a broken message."""

    log_ns: int
    topic: Topic
    data: bytes
    problem: str = ""


class Lost(NamedTuple):
    """A number of recorded messages that cannot be read any more."""

    log_ns: int
    topic: Topic
    messages: int


Item: TypeAlias = "Message | Lost"
Wanted: TypeAlias = AbstractSet[Topic]

# This file describes a folder of rosbag2.
METADATA = "metadata.yaml"
# An error names at most this many topics or files.
MAX_NAMES = 20
# The topic of lost messages, which is unknown.
UNKNOWN_TOPIC = Topic("", "")
EARLIEST_NS = -(2**63)
# Bytes of a message: the data of the largest image, and its other fields.
LARGEST_MESSAGE = MAX_MESSAGE_BYTES + (1 << 20)
# Recorders begin a new chunk behind the message that fills one, mostly of less than a megabyte.
LARGEST_CHUNK = 1 << 29
# Bytes of what is read of all files of a recording at once. Files that take turns, and chunks that
# overlap in time, are in memory together.
MOST_HELD = 2 * LARGEST_CHUNK


class Held:
    """The bytes of a recording that are in memory."""

    def __init__(self) -> None:
        self.size = 0

    @property
    def full(self) -> bool:
        """Whether no more is to be read before something is let go."""
        return self.size > MOST_HELD - LARGEST_CHUNK


class Stretch(Protocol):
    """Messages that are read as a whole, from ``start_ns`` to ``end_ns``."""

    @property
    def start_ns(self) -> int:
        """The time of the first message."""

    @property
    def end_ns(self) -> int:
        """The time of the last message."""

    def before(self, wanted: Wanted, from_ns: int) -> int:
        """Return the number of messages before a time, lost ones included."""

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        """Yield the messages from a time on, by time, then by the topic's name."""


class StorageFile(Protocol):
    """An open file. ``warnings`` are its keys in order; reading may add more."""

    warnings: dict[str, None]

    @property
    def counts(self) -> Mapping[Topic, int]:
        """The number of messages of each topic."""

    @property
    def stretches(self) -> Sequence[Stretch]:
        """The stretches in the order of the file."""

    def close(self) -> None:
        """Close the file."""


class Timeline:
    """The wanted messages of many stretches, by time, then by topic, then by stretch.

    Reading from a time on only reads the stretches that reach it.
    """

    def __init__(self, stretches: Sequence[Stretch], wanted: Wanted) -> None:
        self._wanted = wanted
        by_start = sorted(enumerate(stretches), key=lambda item: (item[1].start_ns, item[0]))
        self._by_start = by_start
        self._starts = [stretch.start_ns for _, stretch in by_start]
        self._latest_ends = list(accumulate((stretch.end_ns for _, stretch in by_start), max))
        by_end = sorted(stretches, key=lambda stretch: stretch.end_ns)
        self._ends = [stretch.end_ns for stretch in by_end]
        whole = (stretch.before(wanted, stretch.end_ns + 1) for stretch in by_end)
        self._ended = list(accumulate(whole, initial=0))

    def before(self, from_ns: int) -> int:
        """Return the number of messages before a time, lost ones included."""
        ended = self._ended[bisect_left(self._ends, from_ns)]
        begun = (stretch.before(self._wanted, from_ns) for _, stretch in self._begun(from_ns))
        return ended + sum(begun)

    def read(self, from_ns: int) -> Iterator[Item]:
        """Yield the messages from a time on.

        Raises BagError if the next messages of all files do not fit into memory together.
        """
        held = 0
        later = range(bisect_left(self._starts, from_ns), len(self._by_start))
        waiting = chain(self._begun(from_ns), (self._by_start[index] for index in later))
        coming = next(waiting, None)
        heads: list[tuple[int, Topic, int, Item, Iterator[Item]]] = []
        while heads or coming:
            if coming and (not heads or coming[1].start_ns <= heads[0][0]):
                order, stretch = coming
                rest = stretch.read(self._wanted, from_ns)
                coming = next(waiting, None)
            else:
                _, _, order, item, rest = heapq.heappop(heads)
                held -= _size(item)
                yield item
            following = next(rest, None)
            if following is not None:
                head = (following.log_ns, following.topic, order, following, rest)
                heapq.heappush(heads, head)
                held += _size(following)
                if held > MOST_HELD:
                    raise BagError(
                        f"{len(heads)} parts of this recording overlap in time, with messages of "
                        f"{held} bytes; at most {MOST_HELD} are read at once"
                    )

    def _begun(self, from_ns: int) -> list[tuple[int, Stretch]]:
        """Return the stretches that began before a time and did not end before it."""
        first, end = bisect_left(self._latest_ends, from_ns), bisect_left(self._starts, from_ns)
        return [item for item in self._by_start[first:end] if item[1].end_ns >= from_ns]


def _size(item: Item) -> int:
    return len(item.data) if isinstance(item, Message) else 0


def ros2_name(name: str) -> str:
    """Return ``sensor_msgs/Image`` as ``sensor_msgs/msg/Image``, and other names unchanged."""
    package, slash, rest = name.partition("/")
    return f"{package}/msg/{rest}" if slash and "/" not in rest else name
