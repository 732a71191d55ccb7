"""The association of one keyframe's regions with the tracks in memory (data association)."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from deep_perception import masks
from deep_perception.images import BgrImage
from deep_perception.masks import Box, Size
from deep_perception.regions import Region
from deep_perception.settings import IdentitySettings
from deep_perception.tracking.appearance import Appearance, ColorSampler
from deep_perception.tracking.matching import KnownRegions, Match, Similarity, assign
from deep_perception.tracking.motion import Exposure, Motion, ViewFeatures, estimate
from deep_perception.tracking.track import (
    StoredDescription,
    Track,
    TrackMemory,
    Viewpoint,
)


class KeyframeAssociation:
    """The association of one keyframe, from the start of its sweep to its end.

    It finds the viewpoint in memory that overlaps the image, moves that viewpoint's tracks to where
    the camera now sees them, and compares regions with them. Only ``finish`` changes the memory.
    """

    def __init__(
        self, memory: TrackMemory, image: BgrImage, stamp_ns: int, settings: IdentitySettings
    ) -> None:
        self._memory = memory
        self._stamp_ns = stamp_ns
        self._settings = settings
        self._size = masks.size_of(image)
        self._features = ViewFeatures.of(image)
        # A stamp in the past means that the clock was set back or that a recording starts again.
        self._viewpoints = [] if stamp_ns < memory.stamp_ns else list(memory.viewpoints)
        self._viewpoint: Viewpoint | None = None
        motion = Motion(np.eye(3), Exposure(), overlap=False)
        for viewpoint in self._viewpoints:
            motion = estimate(viewpoint.features, self._features)
            if motion.overlap:
                self._viewpoint = viewpoint
                break
        before = self._viewpoint.exposure if self._viewpoint else Exposure()
        self._exposure = motion.exposure.after(before).relaxed()
        self._colors = ColorSampler(image, self._exposure)
        tracks = self._viewpoint.tracks.values() if self._viewpoint else ()
        self._tracks = [
            track for track in tracks if not memory.is_expired(track, stamp_ns, settings)
        ]
        self._known: KnownRegions | None = None
        if self._tracks:
            before_motion = Appearance.join([track.appearance for track in self._tracks])
            self._moved = before_motion.moved(motion.matrix)
            lost = [memory.is_lost(track) for track in self._tracks]
            self._known = KnownRegions(self._moved, lost, self._colors)

    def may_reuse(self, region: Region) -> bool:
        """False if no stored description can be valid, whatever else the sweep finds.

        Such a region can be described while the sweep is running. If True, only ``finish`` decides.
        """
        appearance, (similarity,) = self._compare([region])
        return any(
            self._valid_description(match, appearance) is not None for match in similarity.matches()
        )

    def finish(self, regions: Sequence[Region]) -> list[Region]:
        """All regions of the sweep, in their order, with their tracks. Call it once."""
        # Ties and new ids depend on the regions alone, not on the order of the sweep.
        order = sorted(range(len(regions)), key=lambda index: _sort_key(regions[index]))
        appearances, similarities = self._compare([regions[index] for index in order])
        matches = {match.found: match for match in assign(similarities)}
        tracked = list(regions)
        tracks: dict[str, Track] = {}
        for found, index in enumerate(order):
            tracked[index], track = self._track(
                regions[index], appearances.one(found), matches.get(found)
            )
            tracks[track.id] = track
        for index, track in enumerate(self._tracks):
            if track.id not in tracks:
                track.appearance = self._moved.one(index)
                tracks[track.id] = track
        others = [viewpoint for viewpoint in self._viewpoints if viewpoint is not self._viewpoint]
        current = Viewpoint(self._features, self._exposure, tracks)
        self._memory.replace([current, *others], self._stamp_ns, self._settings)
        return tracked

    def _track(
        self, region: Region, appearance: Appearance, match: Match | None
    ) -> tuple[Region, Track]:
        share = self._share(appearance)
        if match is None:
            track = Track(self._memory.new_id(), self._stamp_ns, self._stamp_ns, appearance, share)
            return track.apply_to(region, None), track
        track = self._tracks[match.known]
        stored = self._valid_description(match, appearance)
        track.forget_outdated(match, appearance, share)
        track.appearance, track.seen_ns, track.share = appearance, self._stamp_ns, share
        return track.apply_to(region, stored), track

    def _valid_description(self, match: Match, appearance: Appearance) -> StoredDescription | None:
        return self._tracks[match.known].valid_description(
            match, appearance, self._share(appearance), self._stamp_ns, self._settings
        )

    def _compare(self, regions: Sequence[Region]) -> tuple[Appearance, list[Similarity]]:
        found = [region.mask for region in regions]
        for mask in found:
            if masks.size_of(mask) != self._size:
                raise ValueError(
                    f"a mask of {mask.shape[1]}x{mask.shape[0]} pixels in an image of "
                    f"{self._size.width}x{self._size.height}: both must be at working size"
                )
        appearances = Appearance.of(found, self._colors)
        if self._known is None or not found:
            return appearances, [Similarity.none()] * len(found)
        return appearances, self._known.compare(appearances, found)

    def _share(self, appearance: Appearance) -> float:
        return float(appearance.area[0]) / (self._size.width * self._size.height)


def _sort_key(region: Region) -> tuple[Box, int, Size, str]:
    return region.box, region.area, region.rle.size, region.rle.counts
