"""A mailbox with one place for each sender: the newest item wins, and everybody gets a turn."""

from __future__ import annotations

import threading
from collections import Counter
from typing import Generic, TypeVar

Item = TypeVar("Item")


class Latest(Generic[Item]):
    """Hands the newest items of any number of senders to one thread.

    Whoever has waited longest for a turn is next, however often the others send. ``replaced``
    counts, for each sender, the items that were never taken.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._items: dict[str, Item] = {}
        self._turns: dict[str, int] = {}
        self._closed = False
        self.replaced: Counter[str] = Counter()

    def put(self, item: Item, sender: str = "") -> None:
        """Leave an item; the sender's one before it is forgotten when nobody took it."""
        with self._changed:
            if sender in self._items:
                self.replaced[sender] += 1
            self._items[sender] = item
            self._changed.notify()

    def take(self, timeout_s: float | None = None) -> tuple[str, Item] | None:
        """Wait for an item, and whose it is. None when none came in time, or once it is closed."""
        with self._changed:
            self._changed.wait_for(lambda: self._closed or self._items, timeout_s)
            if self._closed or not self._items:
                return None
            sender = min(self._items, key=lambda each: self._turns.get(each, 0))
            self._turns[sender] = max(self._turns.values(), default=0) + 1
            return sender, self._items.pop(sender)

    def waiting(self, sender: str = "") -> Item | None:
        """The sender's item that would be taken, and stays."""
        with self._changed:
            return self._items.get(sender)

    def close(self) -> None:
        """Wake whoever waits; nothing is handed over any more."""
        with self._changed:
            self._closed = True
            self._changed.notify_all()

    @property
    def closed(self) -> bool:
        """Whether nothing is handed over any more."""
        return self._closed
