"""The descriptions of one image's regions in step with its sweep: for files and recordings."""

from __future__ import annotations

import contextlib
import heapq
import itertools
import logging
import queue
import threading
from collections.abc import Callable, Iterator

from deep_perception.describers import Describer, is_available
from deep_perception.description import RegionHistory, regions_to_describe
from deep_perception.images import BgrImage
from deep_perception.label_spelling import LabelSpelling, unify_spelling
from deep_perception.redaction.output import clean_line
from deep_perception.regions import Description, Region

log = logging.getLogger(__name__)

# Seconds between two checks whether the caller has had enough.
CHECK_EVERY_S = 0.05
# A describer that does not stop within this time is abandoned together with the image.
STOP_WITHIN_S = 5.0


class PendingRegions:
    """Regions without a description. Iterating removes them, always the largest one first.

    The iterator blocks while there is none and the sweep may still find one.
    """

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._heap: list[tuple[int, int, Region]] = []
        self._order = itertools.count()
        self._ended = False

    def add(self, region: Region) -> None:
        """Add one region."""
        with self._changed:
            heapq.heappush(self._heap, (-region.area, next(self._order), region))
            self._changed.notify_all()

    def end(self) -> None:
        """State that no region follows."""
        with self._changed:
            self._ended = True
            self._changed.notify_all()

    def clear(self) -> None:
        """Drop the regions that wait, and state that no region follows."""
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


class SweptRegions:
    """Collects the regions of a sweep without describing them: they stay pending, or are reused."""

    def __init__(self, on_region: Callable[[Region], None], history: RegionHistory | None) -> None:
        """``on_region`` gets each region whose description is reused, after the sweep."""
        self._on_region = on_region
        self._history = history
        self._regions: list[Region] = []

    def __enter__(self) -> SweptRegions:
        return self

    def __exit__(self, *_: object) -> None:
        pass

    def add(self, region: Region) -> None:
        """Add a region of the sweep."""
        self._regions.append(region)

    def wait(self, is_enough: Callable[[], bool]) -> None:
        """End the sweep."""
        is_enough()
        if self._history is not None:
            self._regions = self._history.finish(self._regions)
        for region in self.regions:
            if region.description.status == "reused":
                self._on_region(region)

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions in the order of the sweep."""
        return unify_spelling(self._regions)


class DescriptionRun(contextlib.AbstractContextManager["DescriptionRun"]):
    """Hands regions to a describer as the sweep finds them, and results to ``on_region``.

    A region whose description may be reused waits for the end of the sweep, because only then the
    regions are associated with tracks; with a ``history``, ``on_region`` is not called before.
    ``on_region`` is called in the thread that calls ``add`` and ``wait``. Leaving the ``with``
    block stops the describer.
    """

    def __init__(
        self,
        describer: Describer,
        image: BgrImage,
        on_region: Callable[[Region], None],
        *,
        history: RegionHistory | None = None,
        describe_again: int = 0,
    ) -> None:
        """At most ``describe_again`` regions that the fallback described are described again."""
        self._describer = describer
        self._image = image
        self._on_region = on_region
        self._history = history
        self._describe_again = describe_again
        self._pending = PendingRegions()
        self._regions: dict[int, Region] = {}
        self._held: set[int] = set()
        self._settled: set[int] = set()
        # Results that came before the regions were associated with tracks.
        self._early: list[tuple[Region, Description]] | None = [] if history else None
        self._spelling = LabelSpelling()
        self._error = "the describer returned no description of this region"
        self._results: queue.SimpleQueue[tuple[Region, Description] | str | None] = (
            queue.SimpleQueue()
        )
        self._is_over = self._is_stopped = False
        self._thread = threading.Thread(target=self._describe, name="describer", daemon=True)

    def __enter__(self) -> DescriptionRun:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_stopped = True
        self._pending.clear()
        self._thread.join(STOP_WITHIN_S)

    def add(self, region: Region) -> None:
        """Add a region of the sweep, and process the results that have arrived."""
        self._regions[region.index] = region
        if self._history is not None and self._history.may_reuse(region):
            self._held.add(region.index)
        else:
            self._pending.add(region)
        self._process_results()

    def wait(self, is_enough: Callable[[], bool]) -> None:
        """End the sweep, and wait for the other descriptions or until ``is_enough``."""
        if self._history is not None:
            self._associate(self._history)
        self._pending.end()
        while not (self._is_over and self._results.empty()) and not is_enough():
            try:
                self._process(self._results.get(timeout=CHECK_EVERY_S))
            except queue.Empty:
                continue
        # Results that arrived before it was enough count.
        self._process_results()
        if self._is_over:
            self._fail_the_rest()

    @property
    def regions(self) -> tuple[Region, ...]:
        """All regions in the order of the sweep, with the descriptions that have arrived."""
        return unify_spelling([self._regions[index] for index in sorted(self._regions)])

    def _associate(self, history: RegionHistory) -> None:
        tracked = history.finish([self._regions[index] for index in sorted(self._regions)])
        self._regions = {region.index: region for region in tracked}
        early, self._early = self._early or [], None
        for region in tracked:
            if region.description.status == "reused":
                self._publish(region)
        again = self._describe_again if is_available(self._describer) else 0
        for region in regions_to_describe(tracked, self._describer.name, again):
            if region.index in self._held:
                self._pending.add(region)
        for result in early:
            self._process(result)

    def _process_results(self) -> None:
        while not self._results.empty():
            self._process(self._results.get())

    def _process(self, result: tuple[Region, Description] | str | None) -> None:
        if result is None:
            self._is_over = True
        elif isinstance(result, str):
            self._error = result
        elif self._early is not None:
            self._early.append(result)
        else:
            self._settle(*result)

    def _settle(self, region: Region, description: Description) -> None:
        known = self._regions.get(region.index)
        if known is None or region.index in self._settled:
            return
        is_first_choice = (
            description.status == "described" and description.describer == self._describer.name
        )
        if known.description.status == "reused" and not is_first_choice:
            return
        self._settled.add(region.index)
        described = known.described(description)
        if self._history is not None:
            described = self._history.described(described)
        self._regions[region.index] = described
        self._publish(described)

    def _fail_the_rest(self) -> None:
        for region in self.regions:
            if region.description.status == "pending" and region.index not in self._settled:
                failed = Description(
                    status="failed",
                    describer=self._describer.name,
                    model=self._describer.model,
                    error=self._error,
                )
                self._process((region, failed))

    def _publish(self, region: Region) -> None:
        # The spelling is unified in this copy only: what is stored must not depend on the order in
        # which the descriptions arrive.
        self._on_region(region.described(self._spelling.spell(region.description)))

    def _describe(self) -> None:
        results = None
        try:
            results = iter(self._describer.describe(self._image, self._pending))
            for result in results:
                if self._is_stopped:
                    break
                if result is not None:
                    self._results.put(result)
        except BaseException as error:  # one backend must not cost the scene
            # Each region carries the error, and so do the diagnostics; a log line for every
            # keyframe would flood the log.
            log.debug("describer %s failed", self._describer.name, exc_info=True)
            self._results.put(clean_line(f"{type(error).__name__}: {error}"))
        finally:
            # Requests may be under way, so the generator is not left to the garbage collector.
            if results is not None and hasattr(results, "close"):
                results.close()
            self._results.put(None)
