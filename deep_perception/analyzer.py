"""Analyzer: one picture in, a Scene out, each region handed over as it is described."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any

import numpy as np

from deep_perception import images, masks
from deep_perception.backends import BackendUnavailable
from deep_perception.description import DescriptionRun, OnRegion, RegionHistory, regions_to_describe
from deep_perception.images import BgrImage
from deep_perception.label_spelling import unify_spelling
from deep_perception.models import Models
from deep_perception.points import Point, propose, to_source
from deep_perception.points.priorities import prioritize
from deep_perception.regions import Region, Scene, Timings
from deep_perception.settings import Settings
from deep_perception.sweep import Sweep

OnProgress = Callable[[int, int], None]
"""Called with the points that are settled so far and the points proposed."""


def _ignore(*_: Any) -> None:
    pass


class Cancelled(Exception):
    """The analysis was told to stop; there is no scene."""


@dataclass(frozen=True, eq=False)
class PreviousFrame:
    """What earlier pictures of the same camera are good for.

    ``working`` is the working picture before, for ``points.order: novelty``; ``kept`` are regions
    that are not swept again; ``past`` makes, of the working picture, what tells regions apart.
    """

    working: BgrImage | None = None
    kept: Sequence[Region] = ()
    past: Callable[[BgrImage], RegionHistory] | None = None


class Analyzer:
    """Holds the models of one settings tree; ``analyze`` is one pass over one picture."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Load the backends. Raises BackendUnavailable when one and its fallback cannot work."""
        self.settings = settings or Settings()
        self.models = Models()
        self.models.load(self.settings)

    def analyze(
        self,
        image: BgrImage,
        *,
        on_region: OnRegion = _ignore,
        on_progress: OnProgress = _ignore,
        cancelled: Callable[[], bool] = bool,
        superseded: Callable[[], bool] = bool,
        before: PreviousFrame | None = None,
    ) -> Scene:
        """Sweep and describe an HxWx3 uint8 BGR picture; results are in its pixel frame.

        ``on_region`` gets each region that has its words, while the sweep still goes on. Once
        ``cancelled`` says so, Cancelled is raised; once ``superseded`` says so, and at
        ``describer.scene_deadline_s``, a scene that is swept is returned as it is, its other
        regions pending. ``before``: what is known from earlier pictures of the same camera. Raises
        ValueError for anything but such a picture.
        """
        if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
            raise ValueError(
                f"expected a picture of HxWx3 uint8 BGR pixels, got {image.shape} {image.dtype}"
            )
        started = time.perf_counter()
        settings = self.settings
        self.models.load(settings)
        working = images.shrink(image, settings.sweep.max_width, settings.sweep.max_height)
        before = before or PreviousFrame()
        points = prioritize(
            propose(working, settings.points), working, before.working, settings.points
        )
        proposed = time.perf_counter()
        deadline = settings.describer.scene_deadline_s

        def enough() -> bool:
            if cancelled():
                raise Cancelled
            return superseded() or 0 < deadline <= time.perf_counter() - started

        while True:
            try:
                past = before.past(working) if before.past else None
                again = settings.describer.describe_again
                with DescriptionRun(self.models.describer, image, on_region, past, again) as words:
                    sweep, embedded = self._sweep(
                        working, points, words, before.kept, on_progress, cancelled, started
                    )
                    swept = time.perf_counter()
                    words.wait(enough)
                break
            except BackendUnavailable as error:
                self.models.replace_segmenter(error, settings)
        finished = time.perf_counter()
        return Scene(
            size=masks.size_of(image),
            working_size=masks.size_of(working),
            regions=words.regions,
            coverage=float(sweep.claimed.mean()),
            skipped_points=tuple(
                to_source(point, masks.size_of(working), masks.size_of(image))
                for point in sweep.left_out
            ),
            proposed_points=len(points),
            segmenter=self.models.segmenter.name,
            segmenter_model=self.models.segmenter.model,
            warnings=self.models.warnings,
            timings=Timings(
                points_s=proposed - started,
                embed_s=embedded - proposed,
                sweep_s=swept - embedded,
                describe_s=finished - swept,
                total_s=finished - started,
            ),
        )

    def _sweep(
        self,
        working: BgrImage,
        points: Sequence[Point],
        words: DescriptionRun,
        kept: Sequence[Region],
        on_progress: OnProgress,
        cancelled: Callable[[], bool],
        started_s: float,
    ) -> tuple[Sweep, float]:
        """The sweep that was made, its regions handed to ``words``; when it was embedded."""
        embedding = self.models.segmenter.embed(working)
        embedded_s = time.perf_counter()
        sweep = Sweep(
            segmenter=self.models.segmenter,
            embedding=embedding,
            points=points,
            size=masks.size_of(working),
            settings=self.settings.sweep,
            clock=time.perf_counter,
            started_s=started_s,
            claimed=np.logical_or.reduce([region.mask for region in kept]) if kept else None,
            found=len(kept),
        )
        for index, region in enumerate(kept, start=1):
            words.add(dataclasses.replace(region, index=index))
        for index, claim in enumerate(sweep, start=len(kept) + 1):
            if cancelled():
                raise Cancelled
            words.add(
                Region.from_mask(
                    index=index,
                    point=claim.point,
                    mask=claim.mask,
                    score=claim.score,
                    source=masks.size_of(words.image),
                )
            )
            on_progress(sweep.settled, len(points))
        on_progress(len(points), len(points))
        return sweep, embedded_s

    def unfinished(self, scene: Scene, limit: int) -> list[Region]:
        """Regions of a scene that its describer could describe now: those without words yet.

        And ``limit`` of those that the fallback described, the largest first.
        """
        if not self.models.describes:
            return []
        return regions_to_describe(scene.regions, self.models.describer.name, limit)

    def describe_again(
        self,
        image: BgrImage,
        scene: Scene,
        regions: Sequence[Region],
        *,
        on_region: OnRegion = _ignore,
        cancelled: Callable[[], bool] = bool,
        superseded: Callable[[], bool] = bool,
        described: Callable[[Region], Region] = lambda region: region,
    ) -> Scene:
        """The scene of a picture with the words of its own describer for some of its regions.

        Words of the fallback stay where there are no better ones. ``described`` is asked to
        remember each region that has new words. Raises Cancelled.
        """

        def enough() -> bool:
            if cancelled():
                raise Cancelled
            return superseded()

        waiting = {r.index for r in regions if r.description.status == "pending"}
        better: dict[int, Region] = {}

        def keep(region: Region) -> None:
            words = region.description
            ours = words.status == "described" and words.describer == self.models.describer.name
            if ours or region.index in waiting:
                better[region.index] = described(region)
                on_region(better[region.index])

        with DescriptionRun(self.models.describer, image, keep) as words:
            for region in regions:
                words.add(region)
            words.wait(enough)
        return dataclasses.replace(
            scene,
            regions=unify_spelling([better.get(region.index, region) for region in scene.regions]),
            warnings=self.models.warnings,
        )

    def close(self) -> None:
        """Give the backends' memory and connections back."""
        self.models.unload()

    def __enter__(self) -> Analyzer:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()
