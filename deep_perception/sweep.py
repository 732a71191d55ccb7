"""The sweep: every point that no earlier mask has claimed prompts the segmenter, in order.

The rules are in docs/design.md and are those of the scripts that the package grew out of. Decoding
points in chunks is faster on some devices and gives the same regions in the same order.
"""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deep_perception.masks import Mask, Size
from deep_perception.points import Point
from deep_perception.regions import Region
from deep_perception.segmenters import Segmenter
from deep_perception.settings import SweepSettings

# `sweep.overlap: skip` drops a mask of which more than this fraction is claimed already.
MAX_CLAIMED_FRACTION = 0.5


@dataclass(frozen=True, eq=False)
class Claim:
    """A kept mask (HxW bool at working size), the point that prompted it, and its score."""

    point: Point
    mask: Mask
    score: float


class Sweep:
    """One pass over the points of an image. Iterating gives the claims in order.

    ``claimed`` is the ignored mask so far (HxW bool). ``left_out`` are the points that a deadline
    or ``max_regions`` kept from being prompted. ``decoded`` counts the masks that were computed.
    """

    def __init__(
        self,
        *,
        segmenter: Segmenter,
        embedding: Any,
        points: Sequence[Point],
        size: Size,
        settings: SweepSettings,
        clock: Callable[[], float] = time.monotonic,
        started_s: float | None = None,
        kept: Sequence[Region] = (),
    ) -> None:
        """Prepare a sweep of a working image of ``size``.

        The deadline runs from ``started_s`` of ``clock``, by default from now. ``kept`` are regions
        that are known already; their pixels are claimed.
        """
        self._segmenter = segmenter
        self._embedding = embedding
        self._queue = list(points)
        self._kept = kept
        self._total = len(self._queue)
        self._settings = settings
        self._clock = clock
        self._started_s = clock() if started_s is None else started_s
        self.claimed: Mask = np.zeros((size.height, size.width), np.bool_)
        for region in kept:
            self.claimed |= region.mask
        self.left_out: list[Point] = []
        self.decoded = 0

    def regions(self, source: Size) -> Iterator[Region]:
        """Yield the kept regions and then the new ones, in the pixels of a source image's size."""
        for index, region in enumerate(self._kept, start=1):
            yield dataclasses.replace(region, index=index)
        for index, claim in enumerate(self, start=len(self._kept) + 1):
            yield Region.from_mask(
                index=index, point=claim.point, mask=claim.mask, score=claim.score, source=source
            )

    def __iter__(self) -> Iterator[Claim]:
        count = len(self._kept)
        while chunk := self._next_chunk():
            if self._is_out_of_time():
                self._leave_out(chunk)
                return
            coordinates = np.array([(point.x, point.y) for point in chunk], np.int64)
            decoded, scores = self._segmenter.masks(self._embedding, coordinates)
            expected = (len(chunk), *self.claimed.shape)
            if decoded.shape != expected:
                raise ValueError(
                    f"segmenter {self._segmenter.name!r} returned masks of shape {decoded.shape}, "
                    f"expected {expected}: points, height, width"
                )
            self.decoded += len(chunk)
            for position, (point, mask, score) in enumerate(
                zip(chunk, decoded, scores, strict=True)
            ):
                if self.claimed[point.y, point.x]:
                    continue
                if 0 < self._settings.max_regions <= count:
                    self._leave_out(chunk[position:])
                    return
                claim = self._claim(point, mask, float(score))
                if claim is not None:
                    count += 1
                    yield claim

    @property
    def settled(self) -> int:
        """How many points were prompted, skipped or left out so far."""
        return self._total - len(self._queue)

    def _next_chunk(self) -> list[Point]:
        chunk: list[Point] = []
        taken = 0
        for point in self._queue:
            if len(chunk) == max(1, self._segmenter.chunk_size):
                break
            taken += 1
            if not self.claimed[point.y, point.x]:
                chunk.append(point)
        del self._queue[:taken]
        return chunk

    def _claim(self, point: Point, mask: Mask, score: float) -> Claim | None:
        settings = self._settings
        if settings.overlap == "trim":
            mask = mask & ~self.claimed
        area = int(np.count_nonzero(mask))
        if area == 0 or area < settings.min_mask_area or score < settings.min_score:
            return None
        claimed_area = np.count_nonzero(mask & self.claimed) if settings.overlap == "skip" else 0
        if claimed_area > MAX_CLAIMED_FRACTION * area:
            return None
        self.claimed |= mask
        # A view of it would keep the masks of all points of its chunk, as long as a track lives.
        return Claim(point, mask.copy(), score)

    def _is_out_of_time(self) -> bool:
        deadline_s = self._settings.deadline_s
        return deadline_s > 0 and self._clock() - self._started_s >= deadline_s

    def _leave_out(self, chunk: Sequence[Point]) -> None:
        # A point inside a claimed pixel would have been skipped anyway: it is not missing.
        remaining = [*chunk, *self._queue]
        self.left_out = [point for point in remaining if not self.claimed[point.y, point.x]]
        self._queue = []
