"""The two backends of an analyzer: they are loaded, replaced by their fallbacks and unloaded."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping

from deep_perception import describers, segmenters
from deep_perception.backends import BackendUnavailable, create_or_fall_back, fall_back
from deep_perception.redaction.output import clean_line
from deep_perception.settings import Settings
from deep_perception.settings.secrets import register_secrets

log = logging.getLogger(__name__)


class Models:
    """The ``segmenter`` and the ``describer``; both are closed while they are unloaded."""

    segmenter: segmenters.Segmenter
    describer: describers.Describer

    def __init__(self) -> None:
        self.loaded = False
        self._warnings: tuple[str, ...] = ()

    def load(self, settings: Settings) -> None:
        """Load both, unless they are loaded.

        Raises BackendUnavailable if a backend and its fallback cannot work.
        """
        if self.loaded:
            return
        register_secrets(settings)
        segmenter, describer = settings.segmenter, settings.describer
        self.segmenter, segmenter_warning = create_or_fall_back(
            "segmenter", segmenter.backend, segmenter.fallback, segmenters.REGISTRY, settings
        )
        try:
            self.describer, describer_warning = create_or_fall_back(
                "describer", describer.backend, describer.fallback, describers.REGISTRY, settings
            )
        except BackendUnavailable:
            self.segmenter.close()
            raise
        self.loaded = True
        self._warnings = ()
        for warning in filter(None, (segmenter_warning, describer_warning)):
            self._warn(warning)

    def unload(self) -> None:
        """Free the memory and the connections of both."""
        if self.loaded:
            self.loaded = False
            _close(self.segmenter)
            _close(self.describer)

    def replace_segmenter(self, error: BackendUnavailable, settings: Settings) -> None:
        """Use the fallback of the segmenter from now on. Raises the error if there is none."""
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
        message = clean_line(message)
        self._warnings = (*self._warnings, message)
        log.warning(message)

    @property
    def warnings(self) -> tuple[str, ...]:
        """What does not work as set now: replaced backends, and the warnings of the describer."""
        if isinstance(self.describer, describers.SupportsWarnings):
            return (*self._warnings, *map(clean_line, self.describer.warnings))
        return self._warnings

    @property
    def replaced(self) -> tuple[str, ...]:
        """Which backends were replaced by their fallbacks, and why."""
        return self._warnings

    @property
    def statistics(self) -> Mapping[str, int]:
        """The counters of both backends by name."""
        counters: dict[str, int] = {}
        if isinstance(self.segmenter, segmenters.SupportsStatistics):
            counters.update(self.segmenter.statistics)
        if isinstance(self.describer, describers.SupportsStatistics):
            counters.update(self.describer.statistics)
        return counters

    @property
    def prompt_id(self) -> str:
        """The identifier of the describer's prompt, "" if it sends none."""
        if isinstance(self.describer, describers.SupportsPromptId):
            return self.describer.prompt_id
        return ""

    @property
    def describes(self) -> bool:
        """Whether the describer itself can describe now, rather than its fallback."""
        return self.loaded and describers.is_available(self.describer)

    @property
    def loading(self) -> bool:
        """Whether a server is loading the model of the describer."""
        if not self.loaded or not isinstance(self.describer, describers.SupportsLoading):
            return False
        return self.describer.loading

    def get_ready(self, info: Callable[[str], object]) -> None:
        """Wait for a model that a server is loading; ``info`` gets lines about the progress.

        A live camera should not call this: its fallback describes in the meantime.
        """
        if isinstance(self.describer, describers.SupportsGetReady):
            self.describer.get_ready(info)


def _close(backend: segmenters.Segmenter | describers.Describer) -> None:
    """Close a backend; a fault is logged, so that the other backend is closed too."""
    try:
        backend.close()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # also its SystemExit
        log.warning("closing %s failed: %s: %s", backend.name, type(error).__name__, error)
