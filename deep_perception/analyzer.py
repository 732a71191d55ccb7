"""Analyzer: one image in, a Scene out; each region is handed over as soon as it is described."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from deep_perception import images, masks
from deep_perception.backends import BackendUnavailable
from deep_perception.description import RegionHistory, regions_to_describe
from deep_perception.description.run import DescriptionRun, SweptRegions
from deep_perception.images import BgrImage
from deep_perception.label_spelling import unify_spelling
from deep_perception.masks import Size
from deep_perception.models import Models
from deep_perception.points import Contour, Point, find_contours, propose, to_source
from deep_perception.points.priorities import prioritize
from deep_perception.regions import Region, Scene, Timings
from deep_perception.settings import Settings
from deep_perception.sweep import Sweep


class Cancelled(Exception):
    """The caller cancelled the analysis; there is no scene."""


def _ignore_region(region: Region) -> None:
    pass


def _ignore_progress(settled: int, proposed: int) -> None:
    pass


def _never() -> bool:
    return False


@dataclass(frozen=True, kw_only=True)
class Callbacks:
    """What an analysis calls while it runs, always in the thread of the caller.

    ``on_region`` gets each region that has its description, while the sweep still runs.
    ``on_progress`` gets the number of points that are settled and the number of points proposed.
    Once ``is_cancelled`` returns True, Cancelled is raised. Once ``is_superseded`` returns True, a
    scene whose sweep is complete is returned as it is; its other regions are pending.
    """

    on_region: Callable[[Region], None] = _ignore_region
    on_progress: Callable[[int, int], None] = _ignore_progress
    is_cancelled: Callable[[], bool] = _never
    is_superseded: Callable[[], bool] = _never

    def raise_if_cancelled(self) -> None:
        """Raise Cancelled once the caller has cancelled the analysis."""
        if self.is_cancelled():
            raise Cancelled


@dataclass(frozen=True, eq=False, kw_only=True)
class Previous:
    """What is known from earlier images of the same camera.

    ``working_image`` is the previous working image, for ``points.order: novelty``. ``kept`` are
    regions that are not swept again. ``history`` takes the working image and returns what
    associates its regions with the known tracks.
    """

    working_image: BgrImage | None = None
    kept: Sequence[Region] = ()
    history: Callable[[BgrImage], RegionHistory] | None = None


@dataclass(frozen=True, eq=False, kw_only=True)
class _Proposal:
    """The working image, its contours and the points to sweep in their order."""

    working: BgrImage
    contours: Sequence[Contour]
    points: Sequence[Point]


def _propose(image: BgrImage, settings: Settings, previous: Previous) -> _Proposal:
    working = images.shrink(image, settings.sweep.max_width, settings.sweep.max_height)
    contours = find_contours(working)
    points = prioritize(
        propose(working, settings.points, contours),
        working,
        previous.working_image,
        settings.points,
    )
    return _Proposal(working=working, contours=contours, points=points)


def _check_pixels(image: BgrImage) -> None:
    if image.ndim != 3 or image.shape[2] != 3 or image.dtype != np.uint8 or image.size == 0:
        raise ValueError(
            f"expected an image of HxWx3 uint8 BGR pixels, got {image.shape} {image.dtype}"
        )


class Analyzer(contextlib.AbstractContextManager["Analyzer"]):
    """Holds the models; ``analyze`` is one pass over one image."""

    def __init__(self, settings: Settings | None = None) -> None:
        """Load the backends.

        Raises BackendUnavailable if a backend and its fallback cannot work.
        """
        self.settings = settings or Settings()
        self.models = Models()
        self.models.load(self.settings)

    def analyze(
        self,
        image: BgrImage,
        *,
        settings: Settings | None = None,
        callbacks: Callbacks | None = None,
        previous: Previous | None = None,
    ) -> Scene:
        """Sweep and describe an HxWx3 uint8 BGR image; results are in its pixel frame.

        ``settings`` replace those of the constructor for this image; what says "at start only" or
        "trusted" is not read again while the models are loaded. At ``describer.scene_deadline_s`` a
        scene whose sweep is complete is returned as it is; its other regions are pending. Raises
        ValueError for any other array, and Cancelled.
        """
        return self._analyze(image, settings, callbacks, previous, describe=True)

    def sweep(
        self,
        image: BgrImage,
        *,
        settings: Settings | None = None,
        callbacks: Callbacks | None = None,
        previous: Previous | None = None,
    ) -> Scene:
        """Return the scene of an image without describing it: the first stage of ``analyze``.

        Regions are pending, or have the description of their track that still holds. The arguments
        and exceptions are those of ``analyze``.
        """
        return self._analyze(image, settings, callbacks, previous, describe=False)

    def _analyze(
        self,
        image: BgrImage,
        settings: Settings | None,
        callbacks: Callbacks | None,
        previous: Previous | None,
        *,
        describe: bool,
    ) -> Scene:
        _check_pixels(image)
        started_s = time.perf_counter()
        settings = settings or self.settings
        callbacks = callbacks or Callbacks()
        previous = previous or Previous()
        self.models.load(settings)
        found = _propose(image, settings, previous)
        working, points = found.working, found.points
        proposed_s = time.perf_counter()
        deadline_s = settings.describer.scene_deadline_s

        def is_enough() -> bool:
            callbacks.raise_if_cancelled()
            late = 0 < deadline_s <= time.perf_counter() - started_s
            return late or callbacks.is_superseded()

        while True:
            try:
                history = previous.history(working) if previous.history else None
                run: DescriptionRun | SweptRegions = SweptRegions(callbacks.on_region, history)
                if describe:
                    run = DescriptionRun(
                        self.models.describer,
                        image,
                        callbacks.on_region,
                        history=history,
                        describe_again=settings.describer.describe_again,
                    )
                with run:
                    embedding = self.models.segmenter.embed(working)
                    embedded_s = time.perf_counter()
                    sweep = Sweep(
                        segmenter=self.models.segmenter,
                        embedding=embedding,
                        points=points,
                        size=masks.size_of(working),
                        settings=settings.sweep,
                        clock=time.perf_counter,
                        started_s=started_s,
                        kept=previous.kept,
                    )
                    for region in sweep.regions(masks.size_of(image)):
                        callbacks.raise_if_cancelled()
                        run.add(region)
                        callbacks.on_progress(sweep.settled, len(points))
                    callbacks.on_progress(len(points), len(points))
                    swept_s = time.perf_counter()
                    run.wait(is_enough)
                break
            except BackendUnavailable as error:
                self.models.replace_segmenter(error, settings)
        finished_s = time.perf_counter()
        timings = Timings(
            points_s=proposed_s - started_s,
            embed_s=embedded_s - proposed_s,
            sweep_s=swept_s - embedded_s,
            describe_s=finished_s - swept_s,
            total_s=finished_s - started_s,
        )
        return self._to_scene(masks.size_of(image), found, sweep, run.regions, timings)

    def _to_scene(
        self,
        size: Size,
        found: _Proposal,
        sweep: Sweep,
        regions: tuple[Region, ...],
        timings: Timings,
    ) -> Scene:
        working_size = masks.size_of(found.working)
        return Scene(
            size=size,
            working_size=working_size,
            regions=regions,
            coverage=float(sweep.claimed.mean()),
            skipped_points=tuple(to_source(point, working_size, size) for point in sweep.left_out),
            proposed_points=len(found.points),
            segmenter=self.models.segmenter.name,
            segmenter_model=self.models.segmenter.model,
            warnings=self.models.warnings,
            timings=timings,
            working_image=found.working,
            contours=tuple(found.contours),
            points=tuple(found.points),
        )

    def undescribed_regions(self, scene: Scene, limit: int) -> list[Region]:
        """Return the regions of a scene that the describer could describe now, largest first.

        These are the pending ones and at most ``limit`` of those that the fallback described.
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
        callbacks: Callbacks | None = None,
        remember: Callable[[Region], Region] = lambda region: region,
    ) -> Scene:
        """Return the scene of an image with new descriptions of some of its regions.

        A description by the fallback stays where the describer has none. ``remember`` gets each
        region with a new description and returns it as its track knows it. Raises Cancelled.
        """
        callbacks = callbacks or Callbacks()
        pending = {region.index for region in regions if region.description.status == "pending"}
        updated: dict[int, Region] = {}

        def update(region: Region) -> None:
            description = region.description
            by_describer = description.describer == self.models.describer.name
            if region.index in pending or (by_describer and description.status == "described"):
                updated[region.index] = remember(region)
                callbacks.on_region(updated[region.index])

        def is_enough() -> bool:
            callbacks.raise_if_cancelled()
            return callbacks.is_superseded()

        with DescriptionRun(self.models.describer, image, update) as run:
            for region in regions:
                run.add(region)
            run.wait(is_enough)
        return dataclasses.replace(
            scene,
            regions=unify_spelling([updated.get(region.index, region) for region in scene.regions]),
            warnings=self.models.warnings,
        )

    def close(self) -> None:
        """Free the memory and the connections of the backends."""
        self.models.unload()

    def __exit__(self, *_: object) -> None:
        self.close()
