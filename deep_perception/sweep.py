"""The sweep: every point that no earlier mask has claimed is prompted, in order.

The rules (design.md section 4) are those of the scripts that the package grew out of; decoding
points in chunks is faster on some devices and gives the same regions in the same order.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from deep_perception.masks import Mask, Size
from deep_perception.points import Point
from deep_perception.segmenters import Segmenter
from deep_perception.settings import SweepSettings

# `skip` drops a mask when more than this part of it is claimed already.
MOSTLY = 0.5


@dataclass(frozen=True, eq=False)
class Claim:
    """A kept mask (HxW bool at working size), the point that asked for it, and its score."""

    point: Point
    mask: Mask
    score: float


class Sweep:
    """One pass over the points of a picture. Iterate to get the claims, in order.

    ``claimed`` is the ignored mask so far; ``left_out`` are the points that a deadline or
    ``max_regions`` kept from being asked; ``decoded`` counts the masks that were computed.
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
        claimed: Mask | None = None,
        found: int = 0,
    ) -> None:
        """``started_s`` on the same ``clock`` is when the deadline began to run, now by default.

        ``claimed`` (HxW bool) are ``found`` regions that are known and not to be swept again.
        """
        self._segmenter = segmenter
        self._embedding = embedding
        self._queue = list(points)
        self._found = found
        self._total = len(self._queue)
        self._settings = settings
        self._clock = clock
        self._started_s = clock() if started_s is None else started_s
        nothing = np.zeros((size.height, size.width), np.bool_)
        self.claimed: Mask = nothing if claimed is None else claimed.copy()
        self.left_out: list[Point] = []
        self.decoded = 0

    def __iter__(self) -> Iterator[Claim]:
        kept = self._found
        while chunk := self._next_chunk():
            if self._out_of_time():
                self._leave_out(chunk)
                return
            coordinates = np.array([(point.x, point.y) for point in chunk], np.int64)
            found, scores = self._segmenter.masks(self._embedding, coordinates)
            expected = (len(chunk), *self.claimed.shape)
            if found.shape != expected:
                raise ValueError(
                    f"segmenter {self._segmenter.name!r} returned masks of shape {found.shape}, "
                    f"expected {expected}: points, height, width"
                )
            self.decoded += len(chunk)
            for position, (point, mask, score) in enumerate(zip(chunk, found, scores, strict=True)):
                if self.claimed[point.y, point.x]:
                    continue
                if 0 < self._settings.max_regions <= kept:
                    self._leave_out(chunk[position:])
                    return
                claim = self._claim(point, mask, float(score))
                if claim is not None:
                    kept += 1
                    yield claim

    @property
    def settled(self) -> int:
        """How many points were asked, skipped or left out so far."""
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
        if settings.overlap == "skip" and np.count_nonzero(mask & self.claimed) > MOSTLY * area:
            return None
        self.claimed |= mask
        return Claim(point, mask, score)

    def _out_of_time(self) -> bool:
        deadline = self._settings.deadline_s
        return deadline > 0 and self._clock() - self._started_s >= deadline

    def _leave_out(self, chunk: Sequence[Point]) -> None:
        # Points inside what is claimed would have been skipped anyway: they are not missing.
        rest = [*chunk, *self._queue]
        self.left_out = [point for point in rest if not self.claimed[point.y, point.x]]
        self._queue = []
