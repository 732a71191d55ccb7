"""Which region is which from keyframe to keyframe, and whether its words still hold.

Everything goes by the stamps of the pictures: the same pictures give the same track ids.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np

from deep_perception import masks
from deep_perception.images import BgrImage
from deep_perception.masks import Box, Size
from deep_perception.regions import Region
from deep_perception.settings import IdentitySettings
from deep_perception.tracking.appearance import Appearance, Colours
from deep_perception.tracking.matching import Known, Likeness, Match, assign
from deep_perception.tracking.motion import Exposure, Motion, View, estimate
from deep_perception.tracking.track import NANOSECONDS, Place, Track, content_changed

# Without the letters that are taken for digits (Crockford's base 32).
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"
# Views that have nothing in common with the last one and may come back: a camera that is covered
# for a moment, or a few preset directions.
MAX_PLACES = 3


class Tracker:
    """The regions of one camera. Not for more than one thread.

    Memory is bounded: the last scene's regions and at most ``max_lost`` that are out of sight,
    about 5 kB and the words each; no pictures but MAX_PLACES small grey ones.
    """

    def __init__(self) -> None:
        self._places: list[Place] = []
        self._stamp_ns = 0
        self._given = 0

    def __len__(self) -> int:
        """How many regions are remembered."""
        return sum(len(place.tracks) for place in self._places)

    def reset(self) -> None:
        """Forget every region. No id is given twice all the same."""
        self._places, self._stamp_ns = [], 0

    def follow(
        self,
        regions: Sequence[Region],
        picture: BgrImage,
        stamp_ns: int,
        settings: IdentitySettings,
    ) -> list[Region]:
        """The regions of a keyframe with track id, first stamp, and words that still hold.

        ``picture`` is the working picture (HxWx3 BGR), of the masks' size. Words that hold have
        status ``reused``; the other regions are ``pending``. A stamp before the last one forgets
        all that was known. Raises ValueError for a mask of another size.
        """
        return self.begin(picture, stamp_ns, settings).finish(regions)

    def begin(self, picture: BgrImage, stamp_ns: int, settings: IdentitySettings) -> Following:
        """``follow`` in two steps, for a sweep that is still going on.

        Nothing changes before ``Following.finish``: a keyframe may be given up.
        """
        return Following(self, picture, stamp_ns, settings)

    def described(self, region: Region, stamp_ns: int) -> Region:
        """Remember new words of a region that ``follow`` returned for the picture of that stamp.

        Returns the region with ``last_described_ns`` and ``revision``. Words that failed, or are
        of one picture only, are not remembered: the region is pending at the next keyframe.
        """
        if region.description.status != "described":
            return region
        track = next(
            (found for place in self._places if (found := place.tracks.get(region.track_id))), None
        )
        revision = region.revision
        if track is not None:
            track.show(region.description)
            revision = track.revision
            # Of an older picture they may not fit what is seen now.
            if track.seen_ns == stamp_ns and region.description.reusable:
                track.remember(region.description, stamp_ns)
        return dataclasses.replace(region, last_described_ns=stamp_ns, revision=revision)

    def _next_id(self) -> str:
        self._given += 1
        return f"t{_base32(self._given)}"

    def _expired(self, track: Track, stamp_ns: int, settings: IdentitySettings) -> bool:
        # What the last keyframe showed is not lost, however long ago that was.
        lost = track.seen_ns < self._stamp_ns
        return lost and stamp_ns - track.seen_ns > settings.keep_lost_s * NANOSECONDS

    def _keep(self, places: Sequence[Place], stamp_ns: int, settings: IdentitySettings) -> None:
        """The places after a keyframe, the newest first, less what is lost for too long."""
        now, *others = places
        self._stamp_ns = stamp_ns
        tracks = [track for place in places for track in place.tracks.values()]
        lost = [track for track in tracks if track.seen_ns < stamp_ns]
        lost.sort(key=lambda track: (-track.seen_ns, -track.share, track.id))
        gone = {track.id for track in lost[settings.max_lost :]}
        gone.update(track.id for track in lost if self._expired(track, stamp_ns, settings))
        for place in places:
            place.tracks = {key: each for key, each in place.tracks.items() if key not in gone}
        self._places = [now, *(place for place in others if place.tracks)][:MAX_PLACES]


class Following:
    """One keyframe between the start of its sweep and the end. See ``Identity.begin``."""

    def __init__(
        self, identity: Tracker, picture: BgrImage, stamp_ns: int, settings: IdentitySettings
    ) -> None:
        self._identity = identity
        self._stamp_ns = stamp_ns
        self._settings = settings
        self._size = masks.size_of(picture)
        self._view = View.of(picture)
        # The clock was set back or a recording starts anew: what was seen is in the future.
        self._places = [] if stamp_ns < identity._stamp_ns else list(identity._places)
        self._place: Place | None = None
        motion = Motion(np.eye(3), Exposure(), overlap=False)
        for place in self._places:
            motion = estimate(place.view, self._view)
            if motion.overlap:
                self._place = place
                break
        before = self._place.exposure if self._place else Exposure()
        self._exposure = motion.exposure.after(before).relaxed()
        self._colours = Colours(picture, self._exposure)
        tracks = self._place.tracks.values() if self._place else ()
        self._tracks = [
            track for track in tracks if not identity._expired(track, stamp_ns, settings)
        ]
        self._known: Known | None = None
        if self._tracks:
            self._moved = Appearance.join([track.look for track in self._tracks]).moved(
                motion.matrix
            )
            lost = [track.seen_ns < identity._stamp_ns for track in self._tracks]
            self._known = Known(self._moved, lost, self._colours)

    def may_reuse(self, region: Region) -> bool:
        """False when no remembered words can hold for the region, whatever else is found.

        Then it can be described while the sweep goes on. True is decided by ``finish`` only.
        """
        look, (likeness,) = self._compare([region])
        tracks = ((self._tracks[pair.known], pair) for pair in likeness.pairs())
        return any(
            track.wording(pair, look, self._share(look), self._stamp_ns, self._settings)
            for track, pair in tracks
        )

    def finish(self, regions: Sequence[Region]) -> list[Region]:
        """All regions of the sweep, in their order, with identity. Call it once."""
        # Whatever the order of the sweep: ties and new ids go by the regions alone.
        order = sorted(range(len(regions)), key=lambda index: _key(regions[index]))
        looks, likenesses = self._compare([regions[index] for index in order])
        matches = {match.found: match for match in assign(likenesses)}
        followed = list(regions)
        tracks: dict[str, Track] = {}
        for found, index in enumerate(order):
            followed[index], track = self._track(
                regions[index], looks.one(found), matches.get(found)
            )
            tracks[track.id] = track
        for index, track in enumerate(self._tracks):
            if track.id not in tracks:
                track.look = self._moved.one(index)
                tracks[track.id] = track
        others = [place for place in self._places if place is not self._place]
        place = Place(self._view, self._exposure, tracks)
        self._identity._keep([place, *others], self._stamp_ns, self._settings)
        return followed

    def _track(self, region: Region, look: Appearance, match: Match | None) -> tuple[Region, Track]:
        share = self._share(look)
        if match is None:
            name = self._identity._next_id()
            track = Track(name, self._stamp_ns, self._stamp_ns, look, share)
            return track.tell(region, None), track
        track = self._tracks[match.known]
        wording = track.wording(match, look, share, self._stamp_ns, self._settings)
        if content_changed(match):
            # For good: the next picture is compared with this one only.
            track.remembered = []
        track.look, track.seen_ns, track.share = look, self._stamp_ns, share
        return track.tell(region, wording), track

    def _compare(self, regions: Sequence[Region]) -> tuple[Appearance, list[Likeness]]:
        found = [region.mask for region in regions]
        for mask in found:
            if masks.size_of(mask) != self._size:
                raise ValueError(
                    f"a mask of {mask.shape[1]}x{mask.shape[0]} pixels in a picture of "
                    f"{self._size.width}x{self._size.height}: both must be at working size"
                )
        looks = Appearance.of(found, self._colours)
        if self._known is None or not found:
            return looks, [Likeness.none()] * len(found)
        return looks, self._known.compare(looks, found)

    def _share(self, look: Appearance) -> float:
        return float(look.area[0]) / (self._size.width * self._size.height)


def _key(region: Region) -> tuple[Box, int, Size, str]:
    return region.box, region.area, region.rle.size, region.rle.counts


def _base32(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits
