"""The events of a replay on the terminal: lines, and a progress bar with the remaining time."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from deep_perception.redaction.output import clean_line
from deep_perception.replay.events import Event, Notice, Problem, Progress
from deep_perception.untrusted.text import printable

FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class Terminal:
    """Shows events; ``info`` and ``error`` print one line each. ``close`` removes the bars."""

    def __init__(self, info: Callable[[str], object], error: Callable[[str], object]) -> None:
        self._info, self._error = info, error
        self._bars: dict[str, tuple[str, Any]] = {}

    def emit(self, event: Event) -> None:
        """Show an event."""
        if isinstance(event, Notice):
            self._info(clean_line(event.text))
        elif isinstance(event, Problem):
            self._error(clean_line(event.text))
        else:
            self._update_bar(event)

    def _update_bar(self, event: Progress) -> None:
        step, bar = self._bars.get(event.bag, ("", None))
        if step != event.step:
            from tqdm import tqdm

            self.close(event.bag)
            # disable=None shows no bar where the output is not a terminal. The bar starts at
            # event.share, because a resumed run starts in the middle: the remaining time is
            # estimated from the speed of this run only.
            bar = tqdm(
                desc=f"{printable(event.bag)}, {event.step}", total=1.0, initial=event.share,
                leave=False, disable=None, bar_format=FORMAT,
            )  # fmt: skip
            self._bars[event.bag] = event.step, bar
        counts = {"keyframes": event.keyframes, "regions": event.regions}
        if event.calls is not None:
            counts |= {"calls": event.calls, "cached": event.cache_hits or 0}
        if event.keyframes:
            bar.set_postfix(counts, refresh=False)
        bar.update(max(0.0, event.share - bar.n))

    def close(self, bag: str | None = None) -> None:
        """Remove the bar of a recording, or all bars."""
        for name in [bag] if bag is not None else list(self._bars):
            _, bar = self._bars.pop(name, ("", None))
            if bar is not None:
                bar.close()
