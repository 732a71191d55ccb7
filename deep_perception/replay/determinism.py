"""What is other than in a live node, so that the same recording gives the same bytes."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from deep_perception.settings import DescriberSettings, Settings
from deep_perception.settings.options import flatten, settings_from

# They end an analysis by the clock on the wall.
DEADLINES = ("describer.scene_deadline_s", "sweep.deadline_s")


def replay_settings(settings: Settings, complain: Callable[[str], object]) -> Settings:
    """The settings of a replay: no deadlines, and a file for the words that are remembered."""
    changes: dict[str, object] = {}
    values = flatten(settings)
    for name in DEADLINES:
        if values[name]:
            changes[name] = 0.0
            complain(
                f"{name}: {values[name]} s is not used: a replay takes the time that it takes, "
                "else two of them would differ"
            )
    if not settings.describer.cache_file:
        changes["describer.cache_file"] = str(words_file())
    words = settings.describer
    if not words.cache_size and words.backend != DescriberSettings().backend:
        complain(
            "describer.cache_size: 0 remembers no words: another replay, or the rest of one that "
            "was interrupted, may get others"
        )
    return settings_from(changes, settings)


def words_file() -> Path:
    """Where a user's replays keep the words of their describers."""
    folder = os.environ.get("XDG_CACHE_HOME", "")
    # The specification says that one that is not absolute is to be ignored.
    base = Path(folder) if Path(folder).is_absolute() else Path.home() / ".cache"
    return base / "deep_perception" / "words.sqlite"
