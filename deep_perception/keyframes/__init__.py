"""Is this frame worth a sweep, and why. By the stamps of the frames, never by the wall clock."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from deep_perception.images import BgrImage
from deep_perception.keyframes import changes
from deep_perception.keyframes.changes import Change, Tiles, View
from deep_perception.settings import KeyframeSettings

Reason = Literal["first", "scene", "view", "local", "heartbeat", "requested"]
"""``first`` also when time jumps back, ``scene`` also when the picture's size changes, and
``heartbeat`` for every keyframe that the clock alone asks for, as all do in mode ``interval``."""

# Frames overtake each other by less; a bag that starts anew steps back further.
OVERTAKING_NS = 1_000_000_000
# A hard cut: more than this part of the view, and colours further from the last keyframe's.
CUT_SHARE, CUT_COLOURS = 0.2, 0.4


@dataclass(frozen=True, eq=False)
class Decision:
    """Sweep this frame, and why.

    ``changed`` are the tiles that changed, of a ``heartbeat`` often none. None: the whole picture
    is to be swept; ``whole`` is the view of the last one that was.
    """

    reason: Reason
    stamp_ns: int
    changed: Tiles | None = None
    view: View = field(repr=False, kw_only=True)
    whole: View = field(repr=False, kw_only=True)


class Keyframes:
    """Decides frame by frame. Not for more than one camera, nor (but ``request``) one thread.

    ``due`` says without the picture whether it is worth decoding, ``look`` and ``decide`` compare
    it. What ``decide`` finds is what later frames are compared with, unless ``missed`` is told that
    it could not be swept: then the same change is found again.
    """

    def __init__(self) -> None:
        self._requested = False
        self._start()

    def _start(self) -> None:
        self._newest_ns: int | None = None
        self._tried_ns: int | None = None
        self._last: Decision | None = None
        self._before: Decision | None = None
        self._changing = False
        self._seen: Decision | None = None
        self._seen_ns: int | None = None

    def request(self) -> None:
        """Make the next frame a keyframe, whenever it comes. From any thread."""
        self._requested = True

    def due(self, stamp_ns: int, settings: KeyframeSettings) -> bool:
        """Whether the frame can be a keyframe at all: not before min_interval_s is over.

        A stamp of more than a second before the newest one is a new start (a bag that is played
        again); a frame that was overtaken by a keyframe is not due.
        """
        if self._newest_ns is not None and stamp_ns < self._newest_ns - OVERTAKING_NS:
            self._start()
        self._newest_ns = max(stamp_ns, self._newest_ns or stamp_ns)
        if self._tried_ns is None or self._requested:
            return True
        elapsed_ns = stamp_ns - self._tried_ns
        return elapsed_ns >= 0 and elapsed_ns >= settings.min_interval_s * 1e9

    def look(self, image: BgrImage, stamp_ns: int, settings: KeyframeSettings) -> Decision | None:
        """What ``decide`` would say of an HxWx3 uint8 BGR picture; nothing is decided yet."""
        if not self.due(stamp_ns, settings):
            return None
        if stamp_ns != self._seen_ns or self._requested:
            # A frame that is looked at twice is no second frame that shows a local change.
            view = changes.look(image)
            found = self._reason(view, stamp_ns, settings)
            self._seen_ns = stamp_ns
            self._seen = self._decision(found, stamp_ns, view) if found else None
        return self._seen

    def decide(self, image: BgrImage, stamp_ns: int, settings: KeyframeSettings) -> Decision | None:
        """Why an HxWx3 uint8 BGR picture is worth a sweep, or None when it is not."""
        decision = self.look(image, stamp_ns, settings)
        if decision is not None:
            self._requested = False
            self._tried_ns = stamp_ns
            self._before, self._last = self._last, decision
            self._forget_seen()
        return decision

    def missed(self, decision: Decision) -> None:
        """The frame could not be swept: it is not what later frames are compared with."""
        if self._last is decision:
            self._last = self._before
            self._forget_seen()

    def _forget_seen(self) -> None:
        self._changing, self._seen_ns, self._seen = False, None, None

    def _decision(self, found: tuple[Reason, Tiles | None], stamp_ns: int, view: View) -> Decision:
        reason, changed = found
        whole = view
        if changed is not None and self._last is not None:
            # A camera that turns slowly changes no tile from one keyframe to the next, and takes
            # the regions out of their pixels all the same.
            if changes.moved(self._last.whole, view):
                changed = None
            else:
                whole = self._last.whole
        return Decision(reason, stamp_ns, changed, view=view, whole=whole)

    def _reason(
        self, view: View, stamp_ns: int, settings: KeyframeSettings
    ) -> tuple[Reason, Tiles | None] | None:
        if self._last is None:
            return "first", None
        if self._requested:
            return "requested", None
        if settings.mode == "interval":
            return "heartbeat", None
        if view.size != self._last.view.size:
            return "scene", None
        change = changes.compare(self._last.view, view)
        if change.share > CUT_SHARE and change.colours > CUT_COLOURS:
            return "scene", None
        if change.share > settings.view_share:
            return "view", None
        if settings.local_tiles:
            local = _connected(change, settings.local_tiles)
            twice, self._changing = self._changing and local.any(), bool(local.any())
            if twice:
                # The smaller changes too: from now on this view is what is compared with.
                return "local", change.tiles
        waited_ns = stamp_ns - self._last.stamp_ns
        if settings.max_interval_s and waited_ns >= settings.max_interval_s * 1e9:
            return "heartbeat", change.tiles
        return None


def _connected(change: Change, tiles: int) -> Tiles:
    """The changed tiles that touch, corners too, in groups of at least ``tiles``."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        change.tiles.astype(np.uint8), connectivity=8
    )
    large = stats[:, cv2.CC_STAT_AREA] >= tiles
    large[0] = False
    connected: Tiles = large[labels]
    return connected
