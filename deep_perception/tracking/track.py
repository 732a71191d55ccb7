"""What is kept of the regions between keyframes: tracks, their descriptions, and viewpoints."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass, field

from deep_perception.regions import PENDING, Description, Region
from deep_perception.settings import IdentitySettings
from deep_perception.stamps import NANOSECONDS
from deep_perception.tracking.appearance import Appearance, Floats, color_difference
from deep_perception.tracking.matching import Match
from deep_perception.tracking.motion import Exposure, ViewFeatures

# A description stays valid while the area changes by less than this share of what it was ...
MAX_AREA_CHANGE = 0.3
# ... and the colours by less than this (CIELAB units). The second limit is for a region that stays
# in its place with most of its points unchanged: clipped highlights change its colours.
MAX_COLOR_CHANGE = 9.0
MAX_COLOR_CHANGE_IN_PLACE, MOST_AGREEING = 18.0, 0.8
# A region in its place needs at least this share of unchanged points.
IN_PLACE_IOU, MIN_AGREEING = 0.5, 0.5
# Descriptions kept per track: a segmenter may waver between an object and a part of it.
MAX_DESCRIPTIONS = 3
# Viewpoints kept that have nothing in common with the current one and may come back: a camera that
# is covered for a moment, or that switches between a few preset directions.
MAX_VIEWPOINTS = 3
# Crockford's base 32: it leaves out the letters that are mistaken for digits.
DIGITS = "0123456789abcdefghjkmnpqrstvwxyz"


@dataclass(frozen=True, eq=False)
class StoredDescription:
    """A description, and the colours and area of the region in the frame that it was made from."""

    description: Description
    stamp_ns: int
    quantiles: Floats
    share: float

    def fits(
        self,
        match: Match,
        appearance: Appearance,
        share: float,
        stamp_ns: int,
        settings: IdentitySettings,
    ) -> bool:
        """Whether the description is still valid for a region of this appearance at that time."""
        if stamp_ns - self.stamp_ns >= settings.words_ttl_s * NANOSECONDS:
            return False
        return self.shows_the_same(match, appearance, share)

    def shows_the_same(self, match: Match, appearance: Appearance, share: float) -> bool:
        """Whether a region of this appearance looks like the one that was described."""
        if abs(share - self.share) >= MAX_AREA_CHANGE * self.share:
            return False
        in_place = match.iou >= IN_PLACE_IOU and match.agreement >= MOST_AGREEING
        limit = MAX_COLOR_CHANGE_IN_PLACE if in_place else MAX_COLOR_CHANGE
        return float(color_difference(self.quantiles, appearance.quantiles)[0]) < limit


@dataclass(eq=False)
class Track:
    """One region over time.

    ``share`` is its area as a share of the image, because the camera's resolution may change.
    ``published`` is the description that was published last, and ``revision`` counts its changes.
    ``question`` is a description that was requested and has not arrived: it is pending, with the
    frame and the appearance that it was requested for.
    """

    id: str
    first_seen_ns: int
    seen_ns: int
    appearance: Appearance
    share: float
    descriptions: list[StoredDescription] = field(default_factory=list)
    published: Description | None = None
    revision: int = 0
    question: StoredDescription | None = None

    def valid_description(
        self,
        match: Match,
        appearance: Appearance,
        share: float,
        stamp_ns: int,
        settings: IdentitySettings,
    ) -> StoredDescription | None:
        """The newest stored description that is still valid if the match is this track."""
        if content_changed(match):
            return None
        for stored in self.descriptions:
            if stored.fits(match, appearance, share, stamp_ns, settings):
                return stored
        return None

    def store(self, description: Description, stamp_ns: int) -> None:
        """Keep a new description of the track's present appearance."""
        self._keep(self._described_now(description, stamp_ns))

    def ask(self, stamp_ns: int) -> None:
        """Note that a description of the track's present appearance was requested."""
        self.question = self._described_now(PENDING, stamp_ns)

    def answer(self, description: Description) -> None:
        """Keep the description that was requested."""
        question, self.question = self.question, None
        if question is None or description.status != "described":
            return
        self.publish(description)
        if description.reusable:
            self._keep(dataclasses.replace(question, description=description))

    def _described_now(self, description: Description, stamp_ns: int) -> StoredDescription:
        return StoredDescription(description, stamp_ns, self.appearance.quantiles, self.share)

    def _keep(self, stored: StoredDescription) -> None:
        self.descriptions = [stored, *self.descriptions][:MAX_DESCRIPTIONS]

    def forget_outdated(self, match: Match, appearance: Appearance, share: float) -> None:
        """Drop what was said or asked of another content than the track has in a new frame."""
        if content_changed(match):
            # The next frame is compared with this content only, so older descriptions are dropped.
            self.descriptions = []
            self.question = None
        elif self.question and not self.question.shows_the_same(match, appearance, share):
            self.question = None

    def publish(self, description: Description) -> None:
        """Count a revision if the description differs from the one published last."""
        if self.published is not None and _content(self.published) != _content(description):
            self.revision += 1
        self.published = description

    def apply_to(self, region: Region, stored: StoredDescription | None) -> Region:
        """The region with this track's id, stamps and, if there is a valid one, description."""
        description = PENDING
        if stored is not None:
            description = dataclasses.replace(stored.description, status="reused", latency_s=0.0)
            self.publish(description)
        return dataclasses.replace(
            region,
            track_id=self.id,
            first_seen_ns=self.first_seen_ns,
            last_described_ns=stored.stamp_ns if stored else 0,
            revision=self.revision,
            description=description,
        )


@dataclass(eq=False)
class Viewpoint:
    """A view of the camera and the tracks in its pixels.

    ``exposure`` maps grey levels of the first keyframe of this viewpoint to those of the view.
    """

    features: ViewFeatures
    exposure: Exposure
    tracks: dict[str, Track]


class TrackMemory:
    """The viewpoints and tracks of one camera, bounded in number and age; gives new track ids."""

    def __init__(self) -> None:
        self.viewpoints: list[Viewpoint] = []
        self.stamp_ns = 0
        self._ids_given = 0

    def new_id(self) -> str:
        """A track id that was never given before."""
        self._ids_given += 1
        return f"t{_base32(self._ids_given)}"

    def find(self, track_id: str) -> Track | None:
        """The remembered track of an id."""
        for viewpoint in self.viewpoints:
            if track_id in viewpoint.tracks:
                return viewpoint.tracks[track_id]
        return None

    def is_lost(self, track: Track) -> bool:
        """Whether the last keyframe did not show the track."""
        return track.seen_ns < self.stamp_ns

    def is_expired(self, track: Track, stamp_ns: int, settings: IdentitySettings) -> bool:
        """Whether the track was lost for longer than ``identity.keep_lost_s``."""
        expired = stamp_ns - track.seen_ns > settings.keep_lost_s * NANOSECONDS
        return self.is_lost(track) and expired

    def replace(
        self, viewpoints: Sequence[Viewpoint], stamp_ns: int, settings: IdentitySettings
    ) -> None:
        """Keep the viewpoints after a keyframe, the current one first, without expired tracks."""
        current, *others = viewpoints
        self.stamp_ns = stamp_ns
        tracks = [track for viewpoint in viewpoints for track in viewpoint.tracks.values()]
        lost = [track for track in tracks if self.is_lost(track)]
        lost.sort(key=lambda track: (-track.seen_ns, -track.share, track.id))
        dropped = {track.id for track in lost[settings.max_lost :]}
        dropped.update(track.id for track in lost if self.is_expired(track, stamp_ns, settings))
        for viewpoint in viewpoints:
            viewpoint.tracks = {
                track_id: track
                for track_id, track in viewpoint.tracks.items()
                if track_id not in dropped
            }
        kept = [current, *(viewpoint for viewpoint in others if viewpoint.tracks)]
        self.viewpoints = kept[:MAX_VIEWPOINTS]

    def clear(self) -> None:
        """Forget every track. Ids that were given are still not given again."""
        self.viewpoints, self.stamp_ns = [], 0


def content_changed(match: Match) -> bool:
    """Whether a region shows something else in the same place: a screen, or a swapped object."""
    return match.iou >= IN_PLACE_IOU and match.agreement < MIN_AGREEING


def _content(description: Description) -> tuple[str, str, dict[str, str]]:
    return description.label, description.text, dict(description.attributes)


def _base32(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, len(DIGITS))
        digits = DIGITS[digit] + digits
    return digits
