"""Which pictures are to train with and which to validate with: no place is in both.

Neighbouring pictures of a recording show the same things. Picked at random for both, they would
make every model look good.
"""

from __future__ import annotations

import hashlib
from array import array
from collections.abc import Mapping, Sized
from dataclasses import dataclass

from deep_perception.replay.datasets.writer import Part

VAL_SHARE = 0.2
LATEST_NS = 2**63 - 1


@dataclass(frozen=True, kw_only=True)
class Split:
    """``val`` are the recordings ``bags``, and of the others what is recorded from ``from_ns`` on.

    ``rule`` says the same in a few words.
    """

    rule: str
    bags: frozenset[str] = frozenset()
    from_ns: int | None = None

    def part(self, bag: str, log_ns: int) -> Part:
        """Where the picture of this recording at this time belongs."""
        late = self.from_ns is not None and log_ns >= self.from_ns
        return "val" if late or bag in self.bags else "train"


class Times:
    """When the pictures were recorded: eight bytes each."""

    def __init__(self) -> None:
        self._of_bags: dict[str, array[int]] = {}

    def add(self, bag: str, log_ns: int) -> None:
        """Note one picture."""
        self._of_bags.setdefault(bag, array("q")).append(min(log_ns, LATEST_NS))

    def split(self) -> Split:
        """Whole recordings where there are several, else the end of the only one."""
        if len(self._of_bags) > 1:
            return _by_bag(self._of_bags)
        for times in self._of_bags.values():
            return _by_time(times)
        return Split(rule="there are no pictures")


def _by_bag(bags: Mapping[str, Sized]) -> Split:
    free = round(VAL_SHARE * sum(map(len, bags.values())))
    # By their names: the order of the call does not matter.
    ranked = sorted(bags, key=lambda bag: hashlib.sha256(bag.encode("utf-8", "replace")).digest())
    chosen = []
    for bag in ranked:
        if len(bags[bag]) <= free:
            chosen.append(bag)
            free -= len(bags[bag])
    chosen = chosen or [min(ranked, key=lambda bag: len(bags[bag]))]
    shown = ", ".join(sorted(chosen)[:5]) + (", ..." if len(chosen) > 5 else "")
    return Split(rule=f"by recording, val is {shown}", bags=frozenset(chosen))


def _by_time(times: array[int]) -> Split:
    # By the number of pictures: a robot that stood still for long has few of that time.
    ordered = sorted(times)
    border_ns = ordered[min(len(ordered) - 1, round((1 - VAL_SHARE) * len(ordered)))]
    if border_ns == ordered[0]:
        return Split(rule="val is empty: one moment cannot be parted")
    after_s = (border_ns - ordered[0]) / 1e9
    rule = f"by time, val is what is {after_s:.1f} s and more after the first picture"
    return Split(rule=rule, from_ns=border_ns)
