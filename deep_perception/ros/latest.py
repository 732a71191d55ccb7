"""A mailbox that keeps the newest item of each sender and serves the senders in turn."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Latest(Generic[Item]):
    """Pass the newest items of any number of senders to one thread.

    The sender whose last turn is longest ago is next, however often the others send. ``replaced``
    counts, for each sender, the items that were never taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: dict[str, Item] = {}
        self._turns: dict[str, int] = {}
        self._closed = False
        self.replaced: Counter[str] = Counter()

    def put(self, item: Item, sender: str = "") -> None:
        """Leave an item; it replaces the sender's previous one if that was not taken."""
        with self._changed:
            if sender in self._items:
                self.replaced[sender] += 1
            self._items[sender] = item
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> tuple[str, Item] | None:
        """Wait for an item; returns its sender and it, or None after the timeout or once closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items, timeout_s)
            if self._closed or not self._items:
                return None
            sender = min(self._items, key=lambda name: self._turns.get(name, 0))
            self._turns[sender] = max(self._turns.values(), default=0) + 1
            return sender, self._items.pop(sender)

    def waiting(self, sender: str = "") -> Item | None:
        """The sender's item, which stays in the mailbox; None if there is none."""
        with self._changed:
            return self._items.get(sender)

    def close(self) -> None:
        """Wake the thread that waits; from now on no item can be taken."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether no item can be taken any more."""
        return self._closed
