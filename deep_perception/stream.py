"""The pictures of one camera, one after the other: what is new in each, and which region is which.

The same for a live camera and for a recording: everything goes by the stamps of the pictures.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np

from deep_perception import images, masks
from deep_perception.analyzer import Analyzer, Cancelled, PreviousFrame
from deep_perception.description import OnRegion
from deep_perception.images import BgrImage
from deep_perception.keyframes import Decision, Keyframes
from deep_perception.keyframes.changes import Tiles
from deep_perception.masks import Mask, Size
from deep_perception.regions import PENDING, Region, Scene
from deep_perception.settings import PointSettings, SweepSettings
from deep_perception.tracking.association import KeyframeAssociation
from deep_perception.tracking.tracker import Tracker


@dataclass(frozen=True, eq=False)
class _LastKeyframe:
    """The last keyframe: its scene, and how it was swept."""

    scene: Scene
    stamp_ns: int
    points: PointSettings
    sweep: SweepSettings
    working: BgrImage | None


class Stream:
    """One camera. Not for more than one thread, but ``keyframes.request``."""

    def __init__(self) -> None:
        self.keyframes = Keyframes()
        self._tracker = Tracker()
        self._last: _LastKeyframe | None = None

    def analyze(
        self,
        analyzer: Analyzer,
        image: BgrImage,
        decision: Decision,
        *,
        on_region: OnRegion,
        cancelled: Callable[[], bool] = bool,
        superseded: Callable[[], bool] = bool,
    ) -> Scene:
        """The scene of a keyframe (HxWx3 uint8 BGR). Raises what Analyzer.analyze raises.

        Where the changed tiles are known, regions that they do not touch are not swept again.
        """
        settings = analyzer.settings
        kept: Sequence[Region] = ()
        if self._last is not None and decision.changed is not None:
            same = self._last.points == settings.points and self._last.sweep == settings.sweep
            if same and self._last.scene.size == masks.size_of(image):
                kept = untouched(self._last.scene.regions, decision.changed)
        try:
            scene = analyzer.analyze(
                image,
                on_region=on_region,
                cancelled=cancelled,
                superseded=superseded,
                before=PreviousFrame(
                    working=self._last.working if self._last else None,
                    kept=kept,
                    past=lambda working: _StreamHistory(
                        self._tracker,
                        self._tracker.associate(working, decision.stamp_ns, settings.identity),
                        decision.stamp_ns,
                    ),
                ),
            )
            if cancelled():
                # Nobody will show it.
                raise Cancelled
        except BaseException:
            self.keyframes.revert(decision)
            raise
        working: BgrImage | None = None
        if settings.points.order == "novelty":
            # A copy: the caller may fill the same buffer with the next picture.
            working = images.shrink(
                image, settings.sweep.max_width, settings.sweep.max_height
            ).copy()
        self._last = _LastKeyframe(
            scene, decision.stamp_ns, settings.points, settings.sweep, working
        )
        return scene

    def describe_again(
        self,
        analyzer: Analyzer,
        image: BgrImage,
        regions: Sequence[Region],
        *,
        on_region: OnRegion,
        cancelled: Callable[[], bool] = bool,
        superseded: Callable[[], bool] = bool,
    ) -> Scene:
        """The last scene, of this picture, with better words for some of its regions."""
        last = self._last
        if last is None:
            raise ValueError("there is no scene yet")
        scene = analyzer.describe_again(
            image,
            last.scene,
            regions,
            on_region=on_region,
            cancelled=cancelled,
            superseded=superseded,
            described=lambda region: self._tracker.store_description(region, last.stamp_ns),
        )
        self._last = dataclasses.replace(last, scene=scene)
        return scene


class _StreamHistory:
    """One keyframe's view of what was before it."""

    def __init__(self, tracker: Tracker, association: KeyframeAssociation, stamp_ns: int) -> None:
        self._tracker = tracker
        self._stamp_ns = stamp_ns
        self.may_reuse = association.may_reuse
        self.finish = association.finish

    def described(self, region: Region) -> Region:
        """Remember a region's new words."""
        return self._tracker.store_description(region, self._stamp_ns)


def untouched(regions: Sequence[Region], changed: Tiles) -> list[Region]:
    """The regions outside of the changed tiles and the ring of tiles around them, without words."""
    if not regions:
        return []
    around = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8))
    width, height = masks.size_of(regions[0].mask)
    area: Mask = cv2.resize(around, Size(width, height), interpolation=cv2.INTER_NEAREST) > 0
    return [
        dataclasses.replace(region, description=PENDING)
        for region in regions
        if not (region.mask & area).any()
    ]
