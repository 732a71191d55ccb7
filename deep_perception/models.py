"""The two backends of an analyzer: loaded, replaced by their fallbacks, unloaded, loaded again."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from deep_perception import describers, segmenters
from deep_perception.backends import BackendUnavailable, create_or_fall_back, fall_back
from deep_perception.settings import Settings

log = logging.getLogger(__name__)


class Models:
    """``segmenter`` and ``describer``; of closed ones once they are unloaded."""

    segmenter: segmenters.Segmenter
    describer: describers.Describer

    def __init__(self) -> None:
        self.loaded = False
        self._warnings: tuple[str, ...] = ()

    def load(self, settings: Settings) -> None:
        """If that is not done. Raises BackendUnavailable when one and its fallback cannot work."""
        if self.loaded:
            return
        chosen, words = settings.segmenter, settings.describer
        self.segmenter, segmenter_warning = create_or_fall_back(
            "segmenter", chosen.backend, chosen.fallback, segmenters.REGISTRY, settings
        )
        try:
            self.describer, describer_warning = create_or_fall_back(
                "describer", words.backend, words.fallback, describers.REGISTRY, settings
            )
        except BackendUnavailable:
            self.segmenter.close()
            raise
        self.loaded = True
        self._warnings = ()
        for warning in filter(None, (segmenter_warning, describer_warning)):
            self._warn(warning)

    def unload(self) -> None:
        """Give memory and connections back."""
        if self.loaded:
            self.loaded = False
            _close(self.segmenter)
            _close(self.describer)

    def replace_segmenter(self, error: BackendUnavailable, settings: Settings) -> None:
        """By its fallback, from now on. Raises the error without one."""
        replacement, warning = fall_back(
            error,
            "segmenter",
            self.segmenter.name,
            settings.segmenter.fallback,
            segmenters.REGISTRY,
            settings,
        )
        _close(self.segmenter)
        self.segmenter = replacement
        self._warn(warning)

    def _warn(self, message: str) -> None:
        self._warnings = (*self._warnings, message)
        log.warning(message)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not work as set, now: replaced backends, and what the describer says."""
        return (*self._warnings, *getattr(self.describer, "warnings", ()))

    @property
    def replaced(self) -> tuple[str, ...]:
        """Which backends their fallbacks stand in for, and why."""
        return self._warnings

    @property
    def statistics(self) -> Mapping[str, int]:
        """What the backends count, by name; nothing of one that does not count."""
        return {
            **getattr(self.segmenter, "statistics", {}),
            **getattr(self.describer, "statistics", {}),
        }

    @property
    def describes(self) -> bool:
        """Whether words are to be expected of the describer, and not of its fallback."""
        return self.loaded and getattr(self.describer, "available", True)

    @property
    def loading(self) -> bool:
        """Whether a server is getting the describer's model ready: work that nobody sees."""
        return self.loaded and getattr(self.describer, "loading", False)

    def get_ready(self, say: Callable[[str], object]) -> None:
        """Wait for a model that a server is loading, and say so; a live camera should not wait."""
        if hasattr(self.describer, "get_ready"):
            self.describer.get_ready(say)


def _close(backend: segmenters.Segmenter | describers.Describer) -> None:
    """Whatever is wrong with one, the other is closed too and the node goes on."""
    try:
        backend.close()
    except Exception as error:
        log.warning("%s was not closed well: %s: %s", backend.name, type(error).__name__, error)
