"""Is this frame worth a sweep, and why. By the stamps of the frames, never by the wall clock."""

from __future__ import annotations

from deep_perception.settings import KeyframeSettings


class Keyframes:
    """Decides frame by frame. Not for more than one camera."""

    def __init__(self) -> None:
        self._last_ns: int | None = None

    def reason(self, stamp_ns: int, settings: KeyframeSettings) -> str:
        """Why the frame is worth a sweep, or "" when it is not."""
        if self._last_ns is None:
            return "first frame"
        elapsed_ns = stamp_ns - self._last_ns
        # Stamps step back a little when frames overtake each other, and far when a bag starts anew.
        if abs(elapsed_ns) < settings.min_interval_s * 1e9:
            return ""
        return "interval" if elapsed_ns >= 0 else "time went back"

    def took(self, stamp_ns: int) -> None:
        """The frame could be read and is being swept: count the interval from here."""
        self._last_ns = stamp_ns
