"""The words of one picture's regions, made in a thread of their own while the sweep goes on."""

from __future__ import annotations

import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from types import TracebackType
from typing import Protocol

from deep_perception.describers import Describer
from deep_perception.images import BgrImage
from deep_perception.label_spelling import LabelSpelling, unify_spelling
from deep_perception.regions import Description, Region

log = logging.getLogger(__name__)

OnRegion = Callable[[Region], None]
# How soon it is noticed that nobody wants the words any more.
LOOK_EVERY_S = 0.05
# A describer that does not stop within this time is left behind, with the picture.
STOP_WITHIN_S = 5.0


class PendingRegions:
    """Regions that have no words yet. Iterating takes them out, always the largest there is.

    It waits while there is none and the sweep may still find one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[int, int, Region]] = []
        self._order = itertools.count()
        self._ended = False

    def add(self, region: Region) -> None:
        """One more."""
        with self._changed:
            heapq.heappush(self._heap, (-region.area, next(self._order), region))
            self._changed.notify_all()

    def end(self) -> None:
        """No more will come."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def clear(self) -> None:
        """No more will come, and those that wait are not wanted any more."""
        with self._changed:
            self._heap.clear()
        self.end()

    def __iter__(self) -> Iterator[Region]:
        return self

    def __next__(self) -> Region:
        with self._changed:
            self._changed.wait_for(lambda: self._heap or self._ended)
            if not self._heap:
                raise StopIteration
            return heapq.heappop(self._heap)[2]


def regions_to_describe(regions: Iterable[Region], describer: str, limit: int) -> list[Region]:
    """Which regions want words of this describer: those without any, the largest first.

    And after them the largest of those that another one, its fallback, described; so many.
    """
    largest_first = sorted(regions, key=lambda region: (-region.area, region.index))
    pending = [r for r in largest_first if r.description.status == "pending"]
    others = [r for r in largest_first if r.description.describer not in ("", describer)]
    return [*pending, *[r for r in others if r.description.status != "failed"][:limit]]


class RegionHistory(Protocol):
    """What is known of a region from earlier pictures."""

    def may_reuse(self, region: Region) -> bool:
        """False when no words of earlier pictures can hold for it."""
        ...

    def finish(self, regions: Sequence[Region]) -> list[Region]:
        """The regions of the whole sweep with their identity and the words that still hold."""
        ...

    def described(self, region: Region) -> Region:
        """Remember a region's new words."""
        ...


class DescriptionRun:
    """Hands regions to a describer as they are found, and its words to ``on_region``.

    Regions whose words may be known wait for the end of the sweep. Then only is it known which
    region is which, so with a ``past`` nothing is handed over before. ``on_region`` is called in
    the thread that adds and waits. Leaving the ``with`` block stops the describer.
    """

    def __init__(
        self,
        describer: Describer,
        image: BgrImage,
        on_region: OnRegion,
        past: RegionHistory | None = None,
        again: int = 0,
    ) -> None:
        """``again``: so many regions that have words of the fallback are described again."""
        self._describer = describer
        self.image = image
        self._on_region = on_region
        self._past = past
        self._again = again
        self._waiting = PendingRegions()
        self._found: dict[int, Region] = {}
        self._held: set[int] = set()
        self._said: set[int] = set()
        self._early: list[tuple[Region, Description]] | None = [] if past else None
        self._wording = LabelSpelling()
        self._error = "the describer gave no words for this region"
        self._arrived: queue.SimpleQueue[tuple[Region, Description] | str | None] = (
            queue.SimpleQueue()
        )
        self._over = self._stopped = False
        self._thread = threading.Thread(target=self._describe, name="words", daemon=True)

    def __enter__(self) -> DescriptionRun:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped = True
        self._waiting.clear()
        self._thread.join(STOP_WITHIN_S)

    def add(self, region: Region) -> None:
        """One more region; hands over the words that came meanwhile."""
        self._found[region.index] = region
        if self._past is not None and self._past.may_reuse(region):
            self._held.add(region.index)
        else:
            self._waiting.add(region)
        while not self._arrived.empty():
            self._take(self._arrived.get())

    def wait(self, enough: Callable[[], bool]) -> None:
        """The sweep is over: wait for the other words, or until ``enough`` says so."""
        if self._past is not None:
            self._settle(self._past)
        self._waiting.end()
        while not (self._over and self._arrived.empty()) and not enough():
            try:
                self._take(self._arrived.get(timeout=LOOK_EVERY_S))
            except queue.Empty:
                continue
        # What was there before it was enough.
        while not self._arrived.empty():
            self._take(self._arrived.get())
        if self._over:
            for region in self.regions:
                if region.description.status == "pending" and region.index not in self._said:
                    failed = Description(
                        status="failed",
                        describer=self._describer.name,
                        model=self._describer.model,
                        error=self._error,
                    )
                    self._take((region, failed))

    def _settle(self, past: RegionHistory) -> None:
        followed = past.finish([self._found[index] for index in sorted(self._found)])
        self._found = {region.index: region for region in followed}
        early, self._early = self._early or [], None
        for region in followed:
            if region.description.status == "reused":
                self._tell(region)
        again = self._again if getattr(self._describer, "available", True) else 0
        for region in regions_to_describe(followed, self._describer.name, again):
            if region.index in self._held:
                self._waiting.add(region)
        for item in early:
            self._take(item)

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions in the order of the sweep, with the words that came."""
        return unify_spelling([self._found[index] for index in sorted(self._found)])

    def _take(self, item: tuple[Region, Description] | str | None) -> None:
        if item is None:
            self._over = True
        elif isinstance(item, str):
            self._error = item
        elif self._early is not None:
            self._early.append(item)
        else:
            self._say(*item)

    def _say(self, region: Region, words: Description) -> None:
        found = self._found.get(region.index)
        if found is None or region.index in self._said:
            return
        ours = words.status == "described" and words.describer == self._describer.name
        if found.description.status == "reused" and not ours:
            return
        self._said.add(region.index)
        found = found.described(words)
        if self._past is not None:
            found = self._past.described(found)
        self._found[region.index] = found
        self._tell(found)

    def _tell(self, region: Region) -> None:
        # Here only: what is kept and remembered must not depend on which words came first.
        self._on_region(region.described(self._wording.spell(region.description)))

    def _describe(self) -> None:
        words = None
        try:
            words = iter(self._describer.describe(self.image, self._waiting))
            for item in words:
                if self._stopped:
                    break
                if item is not None:
                    self._arrived.put(item)
        except BaseException as error:  # one backend must not cost the scene
            # Each region says it, and the diagnostics: a log line a keyframe is too much.
            log.debug("describer %s failed", self._describer.name, exc_info=True)
            self._arrived.put(f"{type(error).__name__}: {error}")
        finally:
            # Not when the garbage collector comes: requests may be under way.
            if words is not None and hasattr(words, "close"):
                words.close()
            self._arrived.put(None)
