"""The files of a recording, of every format, as stretches of messages, put in order of time.

A stretch is what is read at once: a chunk of an .mcap file, or a whole file of another format. Only
the stretches that lie at the time that is being read are in memory.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from typing import NamedTuple, Protocol, TypeAlias


class BagError(ValueError):
    """A recording cannot be read or written: which one, what is wrong and what to do, in a line."""


class Topic(NamedTuple):
    """A topic with one of its types, in ROS 2 form: ``sensor_msgs/msg/Image``."""

    name: str
    type: str


class Message(NamedTuple):
    """A message as CDR. ``problem``: why ``data`` is none, where a ROS 1 message is broken."""

    log_ns: int
    topic: Topic
    data: bytes
    problem: str = ""


class Lost(NamedTuple):
    """So many messages were recorded here and cannot be read any more."""

    log_ns: int
    topic: Topic
    messages: int


Item: TypeAlias = "Message | Lost"
Wanted: TypeAlias = AbstractSet[Topic]

# Of a folder of rosbag2.
METADATA = "metadata.yaml"
NOWHERE = Topic("", "")
EARLIEST_NS = -(2**63)


class Stretch(Protocol):
    """Messages that are read at once, from ``start_ns`` to ``end_ns``."""

    @property
    def start_ns(self) -> int:
        """When the first message was recorded."""

    @property
    def end_ns(self) -> int:
        """When the last message was recorded."""

    def before(self, wanted: Wanted, from_ns: int) -> int:
        """How many messages were recorded before a time, lost ones too."""

    def read(self, wanted: Wanted, from_ns: int) -> Iterator[Item]:
        """The messages from a time on, by time, then by the topic's name."""


class StorageFile(Protocol):
    """One open file. Its warnings, in order, may become more while it is read."""

    warnings: dict[str, None]

    @property
    def counts(self) -> Mapping[Topic, int]:
        """How many messages of each topic it has."""

    @property
    def stretches(self) -> Sequence[Stretch]:
        """In the order of the file."""

    def close(self) -> None: ...


def in_order(stretches: Sequence[Stretch], wanted: Wanted, from_ns: int) -> Iterator[Item]:
    """The messages from a time on: by time, then by topic, then in the order of the stretches."""
    waiting = sorted(
        (stretch.start_ns, order)
        for order, stretch in enumerate(stretches)
        if stretch.end_ns >= from_ns
    )[::-1]
    heads: list[tuple[int, Topic, int, Item, Iterator[Item]]] = []
    while heads or waiting:
        if waiting and (not heads or waiting[-1][0] <= heads[0][0]):
            _, order = waiting.pop()
            rest = stretches[order].read(wanted, from_ns)
        else:
            _, _, order, item, rest = heapq.heappop(heads)
            yield item
        following = next(rest, None)
        if following is not None:
            heads_entry = (following.log_ns, following.topic, order, following, rest)
            heapq.heappush(heads, heads_entry)


def ros2_name(name: str) -> str:
    """``sensor_msgs/Image`` as ``sensor_msgs/msg/Image``; other names as they are."""
    package, slash, rest = name.partition("/")
    return f"{package}/msg/{rest}" if slash and "/" not in rest else name
