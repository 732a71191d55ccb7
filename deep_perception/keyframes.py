"""Is this frame worth a sweep, and why. By the stamps of the frames, never by the wall clock."""

from __future__ import annotations

from deep_perception.settings import KeyframeSettings


class Keyframes:
    """Decides frame by frame. Not for more than one camera."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def reason(self, stamp_ns: int, settings: KeyframeSettings) -> str:
        """Why the frame is a keyframe, or "" when it is none."""
        reason = self._reason(stamp_ns, settings)
        if reason:
            self._last_ns = stamp_ns
        return reason

    def _reason(self, stamp_ns: int, settings: KeyframeSettings) -> str:
        if self._last_ns is None:
            return "first frame"
        if stamp_ns < self._last_ns:
            return "time went back"
        return "interval" if stamp_ns - self._last_ns >= settings.min_interval_s * 1e9 else ""
