"""The frames of one camera in order: which of them are keyframes, and which region is which.

A live camera and a recording use the same code: all times are the stamps of the frames.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass

import cv2
import numpy as np

from deep_perception import masks
from deep_perception.analyzer import Analyzer, Callbacks, Previous
from deep_perception.encodings import FrameDecoder
from deep_perception.images import BgrImage, IntensityRange
from deep_perception.keyframes import Decision, Keyframes
from deep_perception.keyframes.changes import Tiles
from deep_perception.masks import Mask, Size
from deep_perception.regions import PENDING, Description, Region, Scene
from deep_perception.settings import KeyframeSettings, PointSettings, Settings, SweepSettings
from deep_perception.tracking.association import KeyframeAssociation
from deep_perception.tracking.tracker import Tracker


@dataclass(frozen=True, eq=False)
class SelectedFrame:
    """A frame that is a keyframe: its HxWx3 uint8 BGR image, and why it is one."""

    image: BgrImage
    decision: Decision
    intensity_range: IntensityRange | None = None

    @property
    def is_unchanged(self) -> bool:
        """Whether no tile of the view has changed since the last keyframe."""
        return self.decision.changed is not None and not self.decision.changed.any()


@dataclass(frozen=True, eq=False)
class _LastKeyframe:
    """The scene of the last keyframe, its stamp, and the settings it was swept with."""

    scene: Scene
    stamp_ns: int
    points: PointSettings
    sweep: SweepSettings


class Stream:
    """One camera.

    Only ``keyframes.request`` and ``keyframes.change_since_last`` may be called from a second
    thread, and, with the lock of ``sweep``, what descriptions need.
    """

    def __init__(self) -> None:
        self.keyframes = Keyframes()
        # Decodes the frames for ``select``, with one mapping to 8 bits.
        self.decoder = FrameDecoder()
        self._tracker = Tracker()
        self._last: _LastKeyframe | None = None

    def select(
        self, stamp_ns: int, decode: Callable[[], BgrImage], settings: KeyframeSettings
    ) -> SelectedFrame | None:
        """Return the frame if it is a keyframe, else None.

        ``decode`` returns its image and is called only if the stamp allows a keyframe; what it
        raises is passed on.
        """
        if not self.keyframes.due(stamp_ns, settings):
            return None
        image = decode()
        decision = self.keyframes.decide(image, stamp_ns, settings)
        if decision is None:
            return None
        return SelectedFrame(image, decision, self.decoder.intensity_range)

    def analyze(
        self,
        analyzer: Analyzer,
        frame: SelectedFrame,
        settings: Settings,
        callbacks: Callbacks | None = None,
    ) -> Scene:
        """Return the scene of a keyframe. Raises what Analyzer.analyze raises.

        If the changed tiles are known, regions outside of them are not swept again.
        """
        previous = self._previous(frame, settings, nullcontext())
        return self._run(analyzer.analyze, frame, settings, callbacks, previous)

    def sweep(
        self,
        analyzer: Analyzer,
        frame: SelectedFrame,
        settings: Settings,
        callbacks: Callbacks | None = None,
        *,
        lock: AbstractContextManager[object],
    ) -> Scene:
        """Return the scene of a keyframe without new descriptions. Raises what ``analyze`` raises.

        ``lock`` is held while the tracks change: the caller holds it for ``ask``, ``is_asked`` and
        ``answer``, which another thread may call during a sweep.
        """
        previous = self._previous(frame, settings, lock)
        return self._run(analyzer.sweep, frame, settings, callbacks, previous)

    def _run(
        self,
        analyze: Callable[..., Scene],
        frame: SelectedFrame,
        settings: Settings,
        callbacks: Callbacks | None,
        previous: Previous,
    ) -> Scene:
        callbacks = callbacks or Callbacks()
        try:
            scene = analyze(frame.image, settings=settings, callbacks=callbacks, previous=previous)
            scene = dataclasses.replace(scene, intensity_range=frame.intensity_range)
            callbacks.raise_if_cancelled()
        except BaseException:
            self.keyframes.revert(frame.decision)
            raise
        self._last = _LastKeyframe(
            _to_keep(scene, settings), frame.decision.stamp_ns, settings.points, settings.sweep
        )
        return scene

    def ask(self, region: Region) -> None:
        """Note that a description of a region of the last scene was requested."""
        if self._last is not None:
            self._tracker.ask(region, self._last.stamp_ns)

    def is_asked(self, track_id: str, stamp_ns: int) -> bool:
        """Whether a description that was requested for a keyframe still fits its track."""
        return self._tracker.is_asked(track_id, stamp_ns)

    def answer(self, track_id: str, stamp_ns: int, description: Description) -> int | None:
        """Store a description that was requested for the keyframe of a stamp.

        Returns the revision of the track's description, None if ``is_asked`` is False.
        """
        return self._tracker.answer(track_id, stamp_ns, description)

    def _previous(
        self, frame: SelectedFrame, settings: Settings, lock: AbstractContextManager[object]
    ) -> Previous:
        last, decision = self._last, frame.decision

        def history(working: BgrImage) -> _TrackerHistory:
            association = self._tracker.associate(working, decision.stamp_ns, settings.identity)
            return _TrackerHistory(self._tracker, association, decision.stamp_ns, lock)

        if last is None:
            return Previous(history=history)
        kept: Sequence[Region] = ()
        is_swept_alike = last.points == settings.points and last.sweep == settings.sweep
        is_same_size = last.scene.size == masks.size_of(frame.image)
        if decision.changed is not None and is_swept_alike and is_same_size:
            kept = unchanged_regions(last.scene.regions, decision.changed)
        return Previous(working_image=last.scene.working_image, kept=kept, history=history)


def _to_keep(scene: Scene, settings: Settings) -> Scene:
    working = scene.working_image if settings.points.order == "novelty" else None
    # The caller may write the next frame into the same memory.
    copy = None if working is None else working.copy()
    return dataclasses.replace(scene, working_image=copy, contours=(), points=())


class _TrackerHistory:
    """The regions of one keyframe in the light of the known tracks."""

    def __init__(
        self,
        tracker: Tracker,
        association: KeyframeAssociation,
        stamp_ns: int,
        lock: AbstractContextManager[object],
    ) -> None:
        self._tracker = tracker
        self._association = association
        self._stamp_ns = stamp_ns
        self._lock = lock
        self.may_reuse = association.may_reuse

    def finish(self, regions: Sequence[Region]) -> list[Region]:
        """Return the regions with their tracks."""
        with self._lock:
            return self._association.finish(regions)

    def described(self, region: Region) -> Region:
        """Remember a new description of a region, and return the region as its track knows it."""
        return self._tracker.store_description(region, self._stamp_ns)


def unchanged_regions(regions: Sequence[Region], changed: Tiles) -> list[Region]:
    """Return the regions, as pending, that touch no changed tile and none of its neighbours."""
    if not regions:
        return []
    tiles = cv2.dilate(changed.astype(np.uint8), np.ones((3, 3), np.uint8))
    width, height = masks.size_of(regions[0].mask)
    area: Mask = cv2.resize(tiles, Size(width, height), interpolation=cv2.INTER_NEAREST) > 0
    return [
        dataclasses.replace(region, description=PENDING)
        for region in regions
        if not (region.mask & area).any()
    ]
