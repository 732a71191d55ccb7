"""A replay on the terminal: lines, and a bar with the time that is left."""

from __future__ import annotations

from collections.abc import Callable
from types import TracebackType
from typing import Any

from deep_perception.replay.events import Note, Progress, Trouble

FORMAT = "{desc}: {percentage:3.0f}%|{bar}| {elapsed}<{remaining}{postfix}"


class Terminal:
    """Call it with what a replay tells. Leaving the ``with`` block removes the bars."""

    def __init__(self, say: Callable[[str], object], complain: Callable[[str], object]) -> None:
        self._say, self._complain = say, complain
        self._bars: dict[str, tuple[str, Any]] = {}

    def __call__(self, event: Note | Trouble | Progress) -> None:
        """Show it."""
        if isinstance(event, Note):
            self._say(event.text)
        elif isinstance(event, Trouble):
            self._complain(event.text)
        else:
            self._show(event)

    def _show(self, event: Progress) -> None:
        step, bar = self._bars.get(event.bag, ("", None))
        if step != event.step:
            from tqdm import tqdm

            self.close(event.bag)
            # disable=None: no bar where the output is not a terminal. The time left goes by what
            # is done from here on: a run that is gone on with begins in the middle.
            bar = tqdm(
                desc=f"{event.bag}, {event.step}", total=1.0, initial=event.share, leave=False,
                disable=None, bar_format=FORMAT,
            )  # fmt: skip
            self._bars[event.bag] = event.step, bar
        counts = {"keyframes": event.keyframes, "regions": event.regions}
        if event.calls is not None:
            counts |= {"calls": event.calls, "remembered": event.cache_hits or 0}
        if event.keyframes:
            bar.set_postfix(counts, refresh=False)
        bar.update(max(0.0, event.share - bar.n))

    def close(self, bag: str | None = None) -> None:
        """No bar any more of a recording, or of any."""
        for name in [bag] if bag is not None else list(self._bars):
            _, bar = self._bars.pop(name, ("", None))
            if bar is not None:
                bar.close()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
