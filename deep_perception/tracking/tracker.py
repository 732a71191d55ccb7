"""Track ids of the regions of one camera, and the descriptions that are still valid for them.

Only the stamps of the frames count, never the wall clock: the same frames give the same track ids.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region
from deep_perception.settings import IdentitySettings
from deep_perception.tracking.association import KeyframeAssociation
from deep_perception.tracking.track import TrackMemory


class Tracker:
    """Tracks the regions of one camera. It is not thread-safe.

    Memory is bounded: the last scene's regions and at most ``identity.max_lost`` lost ones, each
    about 5 kB and its descriptions, and MAX_VIEWPOINTS small grey images.
    """

    def __init__(self) -> None:
        self._memory = TrackMemory()

    def __len__(self) -> int:
        """The number of tracks in memory."""
        return sum(len(viewpoint.tracks) for viewpoint in self._memory.viewpoints)

    def reset(self) -> None:
        """Forget every track. Ids that were given are still not given again."""
        self._memory.clear()

    def update(
        self,
        regions: Sequence[Region],
        image: BgrImage,
        stamp_ns: int,
        settings: IdentitySettings,
    ) -> list[Region]:
        """The regions of a keyframe with track id, first stamp, and description if it is valid.

        ``image`` is the working image (HxWx3 BGR) and has the size of the masks. Regions with a
        valid description have the status ``reused``, the others ``pending``. A stamp before the
        last one forgets all tracks. Raises ValueError for a mask of another size.
        """
        return self.associate(image, stamp_ns, settings).finish(regions)

    def associate(
        self, image: BgrImage, stamp_ns: int, settings: IdentitySettings
    ) -> KeyframeAssociation:
        """Begin ``update`` while the sweep is still running.

        The tracker is unchanged until ``KeyframeAssociation.finish``, so that a keyframe can be
        cancelled.
        """
        return KeyframeAssociation(self._memory, image, stamp_ns, settings)

    def store_description(self, region: Region, stamp_ns: int) -> Region:
        """Store the new description of a region that ``update`` returned for the frame's stamp.

        Returns the region with ``last_described_ns`` and ``revision``. A description that failed or
        is not reusable is not stored, so that the region is pending at the next keyframe.
        """
        if region.description.status != "described":
            return region
        track = self._memory.find(region.track_id)
        revision = region.revision
        if track is not None:
            track.publish(region.description)
            revision = track.revision
            # A description of an older frame may not fit the present appearance.
            if track.seen_ns == stamp_ns and region.description.reusable:
                track.store(region.description, stamp_ns)
        return dataclasses.replace(region, last_described_ns=stamp_ns, revision=revision)

    def ask(self, region: Region, stamp_ns: int) -> None:
        """Note that a description of a region of the frame of this stamp was requested."""
        track = self._memory.find(region.track_id)
        if track is not None:
            track.ask(stamp_ns)

    def is_asked(self, track_id: str, stamp_ns: int) -> bool:
        """Whether a description that was requested for a frame still fits the track.

        It does not if the region has changed since then, or if its track was forgotten.
        """
        track = self._memory.find(track_id)
        question = track.question if track is not None else None
        return question is not None and question.stamp_ns == stamp_ns

    def answer(self, track_id: str, stamp_ns: int, description: Description) -> int | None:
        """Store a description that was requested for the frame of a stamp.

        Returns the revision of the track's description, None if ``is_asked`` is False.
        """
        track = self._memory.find(track_id)
        if track is None or not self.is_asked(track_id, stamp_ns):
            return None
        track.answer(description)
        return track.revision
