"""The split of a dataset into images for training and for validation, which share no place.

Neighbouring images of a recording show the same things. A random split would put them into both
parts and make every model look good.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sized
from dataclasses import dataclass

from deep_perception.replay.datasets.writer import Split
from deep_perception.stamps import NANOSECONDS

VAL_SHARE = 0.2
LATEST_NS = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class SplitRule:
    """``val`` are the recordings ``bags``, and the images of others from ``from_ns`` on.

    ``description`` says the same for people.
    """

    description: str
    bags: frozenset[str] = frozenset()
    from_ns: int | None = None

    def split_of(self, bag: str, log_ns: int) -> Split:
        """Return the split of the image of a recording at a time."""
        late = self.from_ns is not None and log_ns >= self.from_ns
        return "val" if late or bag in self.bags else "train"


class ImageTimes:
    """The times of recording of all images, in eight bytes each."""

    def __init__(self) -> None:
        self._of_bags: dict[str, array[int]] = {}

    def add(self, bag: str, log_ns: int) -> None:
        """Add an image."""
        self._of_bags.setdefault(bag, array("q")).append(min(log_ns, LATEST_NS))

    def split(self) -> SplitRule:
        """Return a split by whole recordings, or by time if there is only one."""
        if len(self._of_bags) > 1:
            return _by_bag(self._of_bags)
        for times in self._of_bags.values():
            return _by_time(times)
        return SplitRule(description="there are no pictures")


def _by_bag(bags: Mapping[str, Sized]) -> SplitRule:
    remaining = round(VAL_SHARE * sum(map(len, bags.values())))
    # The rank depends on the names only, so that the order of the command line does not matter.
    ranked = sorted(bags, key=lambda bag: hashlib.sha256(bag.encode("utf-8", "replace")).digest())
    chosen = []
    for bag in ranked:
        if len(bags[bag]) <= remaining:
            chosen.append(bag)
            remaining -= len(bags[bag])
    chosen = chosen or [min(ranked, key=lambda bag: len(bags[bag]))]
    names = ", ".join(sorted(chosen)[:5]) + (", ..." if len(chosen) > 5 else "")
    return SplitRule(description=f"by recording, val is {names}", bags=frozenset(chosen))


def _by_time(times: array[int]) -> SplitRule:
    # The border is at a share of the images and not of the time, because a robot that stands still
    # for long gives few images of that time.
    ordered = sorted(times)
    border_ns = ordered[min(len(ordered) - 1, round((1 - VAL_SHARE) * len(ordered)))]
    if border_ns == ordered[0]:
        return SplitRule(description="val is empty: one moment cannot be parted")
    after_s = (border_ns - ordered[0]) / NANOSECONDS
    description = f"by time, val is what is {after_s:.1f} s and more after the first picture"
    return SplitRule(description=description, from_ns=border_ns)
