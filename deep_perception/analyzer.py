"""Analyzer: one picture in, a Scene out, each region handed over as it is described."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Any

import numpy as np

from deep_perception import describers, images, masks, segmenters
from deep_perception.backends import BackendUnavailable, create_or_fall_back, fall_back
from deep_perception.images import Picture
from deep_perception.points import Point, propose, to_source
from deep_perception.priorities import prioritize
from deep_perception.regions import Description, Region, Scene, Timings
from deep_perception.settings import Settings
from deep_perception.sweep import Claim, Sweep

log = logging.getLogger(__name__)

OnRegion = Callable[[Region], None]
OnProgress = Callable[[int, int], None]
"""Called with the points that are settled so far and the points proposed."""


def _ignore(*_: Any) -> None:
    pass


class Cancelled(Exception):
    """The analysis was told to stop; there is no scene."""


class Analyzer:
    """Holds the models of one settings tree; ``analyze`` is one pass over one picture."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Load the backends. Raises BackendUnavailable when one and its fallback cannot work."""
        self.settings = settings or Settings()
        chosen = self.settings.segmenter
        self._segmenter: segmenters.Segmenter
        self._describer: describers.Describer
        self._segmenter, segmenter_warning = create_or_fall_back(
            "segmenter", chosen.backend, chosen.fallback, segmenters.REGISTRY, self.settings
        )
        words = self.settings.describer
        self._describer, describer_warning = create_or_fall_back(
            "describer", words.backend, words.fallback, describers.REGISTRY, self.settings
        )
        self._previous: Picture | None = None
        self._warnings: tuple[str, ...] = ()
        for warning in filter(None, (segmenter_warning, describer_warning)):
            self._warn(warning)

    def analyze(
        self,
        image: Picture,
        *,
        on_region: OnRegion = _ignore,
        on_progress: OnProgress = _ignore,
        cancelled: Callable[[], bool] = bool,
    ) -> Scene:
        """Sweep and describe an HxWx3 uint8 BGR picture; results are in its pixel frame.

        ``cancelled`` is asked between regions; Cancelled is raised once it says so. Raises
        ValueError for anything but such a picture.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(
                f"expected a picture of HxWx3 uint8 BGR pixels, got {image.shape} {image.dtype}"
            )
        started = time.perf_counter()
        settings = self.settings
        working = images.shrink(image, settings.sweep.max_width, settings.sweep.max_height)
        points = prioritize(
            propose(working, settings.points), working, self._previous, settings.points
        )
        # A copy: the caller may fill the same buffer with the next picture.
        self._previous = working.copy() if settings.points.order == "novelty" else None
        proposed = time.perf_counter()
        sweep, claims, embedded = self._segment(working, points, started, on_progress, cancelled)
        found = [
            Region.from_mask(
                index=index,
                point=claim.point,
                mask=claim.mask,
                score=claim.score,
                source=masks.size_of(image),
            )
            for index, claim in enumerate(claims, start=1)
        ]
        swept = time.perf_counter()
        regions = self._describe(image, found, on_region, cancelled)
        finished = time.perf_counter()
        return Scene(
            size=masks.size_of(image),
            working_size=masks.size_of(working),
            regions=tuple(regions),
            coverage=float(sweep.claimed.mean()),
            skipped_points=tuple(
                to_source(point, masks.size_of(working), masks.size_of(image))
                for point in sweep.left_out
            ),
            proposed_points=len(points),
            segmenter=self._segmenter.name,
            segmenter_model=self._segmenter.model,
            warnings=self.warnings,
            timings=Timings(
                points_s=proposed - started,
                embed_s=embedded - proposed,
                sweep_s=swept - embedded,
                describe_s=finished - swept,
                total_s=finished - started,
            ),
        )

    def _segment(
        self,
        working: Picture,
        points: Sequence[Point],
        started_s: float,
        on_progress: OnProgress,
        cancelled: Callable[[], bool],
    ) -> tuple[Sweep, list[Claim], float]:
        """The sweep that was made, its claims, and when the picture was embedded."""
        while True:
            try:
                embedding = self._segmenter.embed(working)
                embedded_s = time.perf_counter()
                sweep = Sweep(
                    segmenter=self._segmenter,
                    embedding=embedding,
                    points=points,
                    size=masks.size_of(working),
                    settings=self.settings.sweep,
                    clock=time.perf_counter,
                    started_s=started_s,
                )
                claims = []
                for claim in sweep:
                    if cancelled():
                        raise Cancelled
                    claims.append(claim)
                    on_progress(sweep.settled, len(points))
                on_progress(len(points), len(points))
                return sweep, claims, embedded_s
            except BackendUnavailable as error:
                self._fall_back(error)

    def _fall_back(self, error: BackendUnavailable) -> None:
        """For this picture and the following ones, use the segmenter's fallback."""
        name, fallback = self._segmenter.name, self.settings.segmenter.fallback
        replacement, warning = fall_back(
            error, "segmenter", name, fallback, segmenters.REGISTRY, self.settings
        )
        self._segmenter.close()
        self._segmenter = replacement
        self._warn(warning)

    def _warn(self, message: str) -> None:
        self._warnings = (*self._warnings, message)
        log.warning(message)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not work as set, now: replaced backends, and what the describer says."""
        return (*self._warnings, *getattr(self._describer, "warnings", ()))

    def _describe(
        self,
        image: Picture,
        regions: Sequence[Region],
        on_region: OnRegion,
        cancelled: Callable[[], bool],
    ) -> list[Region]:
        described = {region.index: region for region in regions}
        waiting = set(described)
        error = "the describer gave no words for this region"
        words = iter(self._describer.describe(image, regions))
        try:
            while not cancelled():
                try:
                    region, description = next(words)
                except StopIteration:
                    break
                except Exception as failure:  # one backend must not cost the scene
                    # Each region says it, and the diagnostics: a log line a keyframe is too much.
                    log.debug("describer %s failed", self._describer.name, exc_info=True)
                    error = f"{type(failure).__name__}: {failure}"
                    break
                described[region.index] = region.described(description)
                waiting.discard(region.index)
                on_region(described[region.index])
            else:
                raise Cancelled
        finally:
            # Not when the garbage collector comes: requests may be under way.
            if hasattr(words, "close"):
                words.close()
        for index in sorted(waiting):
            failed = Description(
                status="failed",
                describer=self._describer.name,
                model=self._describer.model,
                error=error,
            )
            described[index] = described[index].described(failed)
            on_region(described[index])
        return [described[index] for index in sorted(described)]

    def close(self) -> None:
        """Give the backends' memory and connections back."""
        self._segmenter.close()
        self._describer.close()

    def __enter__(self) -> Analyzer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
