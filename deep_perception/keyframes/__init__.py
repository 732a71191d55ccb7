"""Keyframe selection: whether a frame is worth a sweep, and why.

Only the stamps of the frames count, never the wall clock.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

import cv2
import numpy as np

from deep_perception.images import BgrImage
from deep_perception.keyframes import changes
from deep_perception.keyframes.changes import Change, FrameThumbnail, Tiles
from deep_perception.settings import KeyframeSettings
from deep_perception.stamps import NANOSECONDS, OVERTAKING_NS

Reason = Literal["first", "scene", "view", "local", "heartbeat", "requested"]
"""Why a frame is a keyframe.

``first`` also after a jump back in time, ``scene`` also after a change of the image size, and
``heartbeat`` for every keyframe that only the elapsed time requires: in the mode ``interval`` all.
"""

# A hard cut changes more than this share of the view and moves the colour histogram further.
CUT_SHARE, CUT_COLORS = 0.2, 0.4


@dataclass(frozen=True, eq=False)
class Decision:
    """A frame that is a keyframe, and why.

    ``changed`` are the tiles to sweep again; a ``heartbeat`` often has none. If it is None, the
    whole image is to be swept. ``thumbnail`` is the frame, ``last_full`` the last frame that was
    swept as a whole.
    """

    reason: Reason
    stamp_ns: int
    changed: Tiles | None = None
    thumbnail: FrameThumbnail = field(repr=False, kw_only=True)
    last_full: FrameThumbnail = field(repr=False, kw_only=True)


class Keyframes:
    """Decides frame by frame for one camera. ``request`` and ``change_since_last`` are thread-safe.

    ``due`` tells from the stamp alone whether a frame is worth decoding, ``preview`` and ``decide``
    compare its pixels with the last keyframe. ``decide`` makes the frame the last keyframe;
    ``revert`` takes that back if it could not be swept, so that the same change is found again.
    """

    def __init__(self) -> None:
        self._requested = False
        self._start()

    def _start(self) -> None:
        self._newest_ns: int | None = None
        self._decided_ns: int | None = None
        self._last: Decision | None = None
        self._before_last: Decision | None = None
        self._changing = False
        self._preview: Decision | None = None
        self._preview_ns: int | None = None

    def request(self) -> None:
        """Make the next frame a keyframe, whatever it shows. It is thread-safe."""
        self._requested = True

    def due(self, stamp_ns: int, settings: KeyframeSettings) -> bool:
        """Whether the frame can be a keyframe: ``min_interval_s`` has elapsed since the last one.

        A stamp more than a second before the newest one starts anew (a recording that is played
        again); a frame that arrives after a newer keyframe is not due.
        """
        if self._newest_ns is not None and stamp_ns < self._newest_ns - OVERTAKING_NS:
            self._start()
        self._newest_ns = max(stamp_ns, self._newest_ns or stamp_ns)
        if self._decided_ns is None or self._requested:
            return True
        elapsed_ns = stamp_ns - self._decided_ns
        return elapsed_ns >= 0 and elapsed_ns >= settings.min_interval_s * NANOSECONDS

    def preview(
        self, image: BgrImage, stamp_ns: int, settings: KeyframeSettings
    ) -> Decision | None:
        """What ``decide`` would return for an HxWx3 uint8 BGR image, without deciding."""
        if not self.due(stamp_ns, settings):
            return None
        if stamp_ns != self._preview_ns or self._requested:
            # Previewing a frame twice must not count as a second frame with a local change.
            thumbnail = FrameThumbnail.of(image)
            found = self._reason(thumbnail, stamp_ns, settings)
            self._preview_ns = stamp_ns
            self._preview = self._decision(found, stamp_ns, thumbnail) if found else None
        return self._preview

    @property
    def last(self) -> Decision | None:
        """The last keyframe, which ``change_since_last`` compares with. It is thread-safe."""
        return self._last

    def change_since_last(
        self, image: BgrImage, settings: KeyframeSettings
    ) -> Literal["scene", "view", ""]:
        """How an HxWx3 uint8 BGR image differs from the last keyframe as a whole. Thread-safe.

        Local changes do not count, because one frame with them is no sign of a change.
        """
        last = self._last
        if last is None:
            return ""
        thumbnail = FrameThumbnail.of(image)
        if thumbnail.size != last.thumbnail.size:
            return "scene"
        return _whole_change(changes.compare(last.thumbnail, thumbnail), settings)

    def decide(self, image: BgrImage, stamp_ns: int, settings: KeyframeSettings) -> Decision | None:
        """Decide whether an HxWx3 uint8 BGR image is a keyframe; None if it is not."""
        decision = self.preview(image, stamp_ns, settings)
        if decision is not None:
            self._requested = False
            self._decided_ns = stamp_ns
            self._before_last, self._last = self._last, decision
            self._forget_preview()
        return decision

    def revert(self, decision: Decision) -> None:
        """Take back the last decision, because the frame could not be swept."""
        if self._last is decision:
            self._last = self._before_last
            self._forget_preview()

    def _forget_preview(self) -> None:
        self._changing, self._preview_ns, self._preview = False, None, None

    def _decision(
        self, found: tuple[Reason, Tiles | None], stamp_ns: int, thumbnail: FrameThumbnail
    ) -> Decision:
        reason, changed = found
        last_full = thumbnail
        if changed is not None and self._last is not None:
            # A camera that turns slowly changes no tile from one keyframe to the next, but still
            # moves the regions away from their pixels.
            if changes.moved(self._last.last_full, thumbnail):
                changed = None
            else:
                last_full = self._last.last_full
        return Decision(reason, stamp_ns, changed, thumbnail=thumbnail, last_full=last_full)

    def _reason(
        self, thumbnail: FrameThumbnail, stamp_ns: int, settings: KeyframeSettings
    ) -> tuple[Reason, Tiles | None] | None:
        if self._last is None:
            return "first", None
        if self._requested:
            return "requested", None
        if settings.mode == "interval":
            return "heartbeat", None
        if thumbnail.size != self._last.thumbnail.size:
            return "scene", None
        change = changes.compare(self._last.thumbnail, thumbnail)
        whole = _whole_change(change, settings)
        if whole:
            return whole, None
        if settings.local_tiles:
            local = _connected(change, settings.local_tiles)
            twice, self._changing = self._changing and local.any(), bool(local.any())
            if twice:
                # All changed tiles count, because later frames are compared with this one.
                return "local", change.tiles
        elapsed_ns = stamp_ns - self._last.stamp_ns
        if settings.max_interval_s and elapsed_ns >= settings.max_interval_s * NANOSECONDS:
            return "heartbeat", change.tiles
        return None


def _whole_change(change: Change, settings: KeyframeSettings) -> Literal["scene", "view", ""]:
    if change.share > CUT_SHARE and change.colors > CUT_COLORS:
        return "scene"
    return "view" if change.share > settings.view_share else ""


def _connected(change: Change, tiles: int) -> Tiles:
    """The changed tiles in 8-connected groups of at least ``tiles``."""
    _, labels, stats, _ = cv2.connectedComponentsWithStats(
        change.tiles.astype(np.uint8), connectivity=8
    )
    large = stats[:, cv2.CC_STAT_AREA] >= tiles
    large[0] = False
    connected: Tiles = large[labels]
    return connected
