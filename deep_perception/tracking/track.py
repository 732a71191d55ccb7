"""One region over time: its id, its last look, and the words that were written of it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass, field

from deep_perception.regions import PENDING, Description, Region
from deep_perception.settings import IdentitySettings
from deep_perception.tracking.appearance import Appearance, Floats, colour_difference
from deep_perception.tracking.matching import Match
from deep_perception.tracking.motion import Exposure, View

NANOSECONDS = 1_000_000_000
# Words hold while the area changes by less than this share of what it was ...
MAX_AREA_CHANGE = 0.3
# ... the colours by less than this (CIELAB units) ...
MAX_COLOUR_CHANGE = 9.0
# ... or, where a region stays in its place and most of its points are as they were, by less than
# this: light that is cut off at white changes colours ...
MAX_COLOUR_CHANGE_IN_PLACE, MOST_AGREEING = 18.0, 0.8
# ... and in its place at least this share of its points is as it was.
IN_PLACE_IOU, MIN_AGREEING = 0.5, 0.5
# Wordings that are kept of a region: a segmenter may waver between a thing and a part of it.
MAX_REMEMBERED = 3


@dataclass(frozen=True, eq=False)
class Remembered:
    """Words, and what the region looked like in the picture that they were written from."""

    description: Description
    stamp_ns: int
    quantiles: Floats
    share: float

    def holds(
        self, pair: Match, look: Appearance, share: float, stamp_ns: int, settings: IdentitySettings
    ) -> bool:
        """Whether the words still fit this look at that time."""
        if stamp_ns - self.stamp_ns >= settings.words_ttl_s * NANOSECONDS:
            return False
        if abs(share - self.share) >= MAX_AREA_CHANGE * self.share:
            return False
        in_place = pair.iou >= IN_PLACE_IOU and pair.agreeing >= MOST_AGREEING
        limit = MAX_COLOUR_CHANGE_IN_PLACE if in_place else MAX_COLOUR_CHANGE
        return float(colour_difference(self.quantiles, look.quantiles)[0]) < limit


@dataclass(eq=False)
class Track:
    """``share`` is the area as a share of the picture: a camera's resolution may change.

    ``shown`` are the words that were told last, and ``revision`` counts how often they changed.
    """

    id: str
    first_seen_ns: int
    seen_ns: int
    look: Appearance
    share: float
    remembered: list[Remembered] = field(default_factory=list)
    shown: Description | None = None
    revision: int = 0

    def wording(
        self, pair: Match, look: Appearance, share: float, stamp_ns: int, settings: IdentitySettings
    ) -> Remembered | None:
        """The newest words that hold for what this track may look like now."""
        if content_changed(pair):
            return None
        for wording in self.remembered:
            if wording.holds(pair, look, share, stamp_ns, settings):
                return wording
        return None

    def remember(self, description: Description, stamp_ns: int) -> None:
        """New words of what the track looks like."""
        wording = Remembered(description, stamp_ns, self.look.quantiles, self.share)
        self.remembered = [wording, *self.remembered][:MAX_REMEMBERED]

    def show(self, description: Description) -> None:
        """Count a change of the words."""
        if self.shown is not None and _content(self.shown) != _content(description):
            self.revision += 1
        self.shown = description

    def tell(self, region: Region, wording: Remembered | None) -> Region:
        """The region as this track, with the words if there are any that hold."""
        description = PENDING
        if wording is not None:
            description = dataclasses.replace(wording.description, status="reused", latency_s=0.0)
            self.show(description)
        return dataclasses.replace(
            region,
            track_id=self.id,
            first_seen_ns=self.first_seen_ns,
            last_described_ns=wording.stamp_ns if wording else 0,
            revision=self.revision,
            description=description,
        )


@dataclass(eq=False)
class Place:
    """A view and the tracks in its pixels; ``exposure`` leads to it from the place's first view."""

    view: View
    exposure: Exposure
    tracks: dict[str, Track]


def content_changed(pair: Match) -> bool:
    """Another picture in the same place: a screen, or a thing that was swapped for another."""
    return pair.iou >= IN_PLACE_IOU and pair.agreeing < MIN_AGREEING


def _content(words: Description) -> tuple[str, str, dict[str, str]]:
    return words.label, words.text, dict(words.attributes)
