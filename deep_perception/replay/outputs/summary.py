"""What a replay found, and what that took: for the terminal, and as ``summary.json``."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deep_perception import __version__
from deep_perception.replay.journal import JournalError
from deep_perception.settings import DescriberSettings

SCHEMA = "deep_perception.summary/1"
# Of more kinds of trouble only the frames are counted.
MAX_KINDS = 20


@dataclass(kw_only=True)
class Counts:
    """What was done so far, crashes included.

    ``lost``: frames that gave no scene, by what was wrong (the first of its kind); ``warnings``: of
    the recording; ``backend_warnings``: what did not work as set at the end; ``asked`` and
    ``cache_hits`` are None for a describer that does not count.
    """

    frames: int = 0
    seconds: float = 0.0
    lost: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    backend_warnings: list[str] = field(default_factory=list)
    asked: int | None = None
    cache_hits: int | None = None

    def lose(self, reason: str) -> bool:
        """Count a frame; whether it is the first of its kind."""
        kind = _kind(reason)
        known = next((each for each in self.lost if _kind(each) == kind), None)
        if known is None and len(self.lost) >= MAX_KINDS:
            known = "other reasons"
        first = known is None
        self.lost[known or reason] = self.lost.get(known or reason, 0) + 1
        return first

    def since(self, before: Counts, statistics: Mapping[str, int], at: Mapping[str, int]) -> None:
        """Take over what a describer counted since it stood ``at``, on top of ``before``."""
        for name, key in (("asked", "regions_asked"), ("cache_hits", "cache_hits")):
            if key in statistics:
                gained = statistics[key] - at.get(key, 0)
                setattr(self, name, (getattr(before, name) or 0) + gained)


def _kind(reason: str) -> str:
    return re.sub(r"\d+", "#", reason)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """Of one recording. ``regions`` counts by status, and ``by_fallback`` those with its words.

    ``now``: something of it was made by this run.
    """

    bag: str
    folder: Path
    topics: Sequence[str]
    counts: Counts
    keyframes: Mapping[str, int]
    regions: Mapping[str, int]
    by_fallback: int
    tracks: int
    outputs: Sequence[str]
    outputs_s: float = 0.0
    now: bool = True

    def lines(self) -> list[str]:
        """For people."""
        counts = self.counts
        rate = f", {counts.frames / counts.seconds:.1f} frames/s" if counts.seconds else ""
        took = f"in {counts.seconds:.1f} s{rate}; outputs in {self.outputs_s:.1f} s"
        lines = [
            f"{self.bag}: {counts.frames} frames of {', '.join(self.topics)} "
            + (took if self.now else "before this run"),
            f"  keyframes: {_sum(self.keyframes)}",
            f"  regions: {_sum(self.regions)} on {self.tracks} tracks"
            + (f"; {self.by_fallback} with words of the fallback" if self.by_fallback else ""),
        ]
        if counts.asked is not None:
            lines.append(f"  describer: {counts.asked} calls, {counts.cache_hits} remembered words")
        for reason, number in counts.lost.items():
            lines.append(f"  {number} frames left out: {reason}")
        return [*lines, f"  -> {self.folder}: {', '.join(self.outputs)}"]

    def to_json(self) -> bytes:
        """For programs."""
        counts = self.counts
        content = {
            "schema": SCHEMA,
            "generator": f"deep_perception {__version__}",
            "bag": self.bag,
            "topics": list(self.topics),
            "frames": counts.frames,
            "frames_lost": counts.lost,
            "keyframes": dict(self.keyframes),
            "regions": dict(self.regions),
            "regions_by_fallback": self.by_fallback,
            "tracks": self.tracks,
            "describer_calls": counts.asked,
            "describer_cache_hits": counts.cache_hits,
            "seconds": round(counts.seconds, 3),
            "frames_per_s": round(counts.frames / counts.seconds, 3) if counts.seconds else None,
            "outputs_s": round(self.outputs_s, 3),
            "outputs": list(self.outputs),
            "warnings": [*counts.warnings, *counts.backend_warnings],
        }
        return (json.dumps(content, ensure_ascii=False, indent=1) + "\n").encode(
            errors="backslashreplace"
        )


def summarize(
    scenes: Path, settings: DescriberSettings, describer: str, counts: Counts, **known: Any
) -> Summary:
    """Read the scenes of a recording once; ``describer`` is the name of the one in use.

    ``known`` are the other fields of the summary. Raises JournalError and OSError.
    """
    keyframes: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    tracks: set[tuple[str, str]] = set()
    by_fallback = 0
    fallback = settings.fallback if settings.fallback != settings.backend else ""
    with scenes.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                scene = json.loads(line)
                keyframes[scene["reason"]] += 1
                for region in scene["regions"]:
                    statuses[region["status"]] += 1
                    tracks.add((scene["topic"], region["track_id"]))
                    if region["status"] in ("described", "reused"):
                        by_fallback += region["describer"] == fallback or (
                            region["describer"] != describer
                        )
            except (ValueError, LookupError, TypeError) as error:
                reason = f"not a scene: {type(error).__name__}: {error}"
                raise JournalError(f"{scenes}, line {number}: {reason}") from None
    return Summary(
        counts=counts,
        keyframes=dict(keyframes.most_common()),
        regions={name: statuses[name] for name in ("described", "reused", "failed", "pending")},
        by_fallback=by_fallback,
        tracks=len(tracks),
        **known,
    )


def _sum(counts: Mapping[str, int]) -> str:
    parts = [f"{number} {name}" for name, number in counts.items() if number]
    return f"{sum(counts.values())}" + (f" ({', '.join(parts)})" if parts else "")


def counts_from(content: Mapping[str, Any]) -> Counts:
    """The counts that were saved as ``dataclasses.asdict`` gives them."""
    names = {each.name for each in dataclasses.fields(Counts)}
    return Counts(**{name: value for name, value in content.items() if name in names})
