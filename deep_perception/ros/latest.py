"""A mailbox that keeps the newest item of each sender and serves the senders in turn."""

from __future__ import annotations

import threading
import time
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
        self._rest_until_s: dict[str, float] = {}
        self._closed = False
        self.replaced: Counter[str] = Counter()

    def put(self, item: Item, sender: str = "") -> None:
        """Leave an item; it replaces the sender's previous one if that was not taken."""
        with self._changed:
            is_first = sender not in self._items
            if not is_first:
                self.replaced[sender] += 1
            self._items[sender] = item
            if is_first:  # otherwise the waiting thread knows already when the sender is next
                self._changed.notify()

    def rest(self, seconds: float, sender: str = "") -> None:
        """Let no item of the sender be taken for this long from now on; the newest one waits."""
        with self._changed:
            self._rest_until_s[sender] = time.monotonic() + seconds
            self._changed.notify_all()

    def take(self, timeout_s: float | None = None) -> tuple[str, Item] | None:
        """Wait for an item; returns its sender and it, or None after the timeout or once closed."""
        ends_s = None if timeout_s is None else time.monotonic() + timeout_s
        with self._changed:
            while not self._closed:
                now_s = time.monotonic()
                due_s = {sender: self._rest_until_s.get(sender, 0.0) for sender in self._items}
                ready = [sender for sender, when_s in due_s.items() if when_s <= now_s]
                if ready:
                    sender = min(ready, key=lambda name: self._turns.get(name, 0))
                    self._turns[sender] = max(self._turns.values(), default=0) + 1
                    return sender, self._items.pop(sender)
                if ends_s is not None and ends_s <= now_s:
                    return None
                wake_s = min(filter(None, (ends_s, *due_s.values())), default=None)
                self._changed.wait(None if wake_s is None else wake_s - now_s)
            return None

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
