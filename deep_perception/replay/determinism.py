"""The settings of a replay that differ from a live node's, so that replays are reproducible."""

from __future__ import annotations

import os
from pathlib import Path

from deep_perception.replay.events import Emit, Problem
from deep_perception.settings import DescriberSettings, Settings
from deep_perception.settings.options import flatten, settings_from

# These settings end an analysis by the wall clock.
DEADLINES = ("describer.scene_deadline_s", "sweep.deadline_s")


def replay_settings(settings: Settings, emit: Emit) -> Settings:
    """Return the settings of a replay: without deadlines, and with a file of cached descriptions.

    A setting that is not used, or that makes replays differ, is emitted as a Problem.
    """
    changes: dict[str, object] = {}
    values = flatten(settings)
    for name in DEADLINES:
        if values[name]:
            changes[name] = 0.0
            emit(
                Problem(
                    f"{name}: {values[name]} s is not used: a replay has no deadlines, because two "
                    "replays would differ"
                )
            )
    describer = settings.describer
    if not describer.cache_file:
        changes["describer.cache_file"] = str(descriptions_file())
    if not describer.cache_size and describer.backend != DescriberSettings().backend:
        emit(
            Problem(
                "describer.cache_size: 0 caches no descriptions: another replay, or the rest of an "
                "interrupted one, may get other descriptions"
            )
        )
    return settings_from(changes, settings)


def descriptions_file() -> Path:
    """Return the file in which the replays of a user cache the describers' answers."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification requires that relative paths are ignored.
    base = Path(folder) if Path(folder).is_absolute() else Path.home() / ".cache"
    return base / "deep_perception" / "words.sqlite"
