"""The summary of a replay: counts and times, for the terminal and as ``summary.json``."""

from __future__ import annotations

import dataclasses
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from deep_perception._version import __version__
from deep_perception.replay.journal import JournalError, lines_of
from deep_perception.replay.journal.scenes import SceneError, not_a_scene, scene_fields
from deep_perception.settings import DescriberSettings

SCHEMA = "deep_perception.summary/1"
# Lost frames are listed by reason, up to this many reasons; further ones are counted together.
MAX_REASONS = 20
MAX_COUNT = 2**63


@dataclass(kw_only=True)
class Counts:
    """The counts of all runs so far, interrupted ones included.

    ``lost`` counts the frames without a scene by reason. ``warnings`` are about the recording,
    ``backend_warnings`` about models that did not work as set at the end. ``asked`` and
    ``cache_hits`` are None for a describer that does not count.
    """

    frames: int = 0
    seconds: float = 0.0
    lost: dict[str, int] = field(default_factory=dict)
    warnings: list[str] = field(default_factory=list)
    backend_warnings: list[str] = field(default_factory=list)
    asked: int | None = None
    cache_hits: int | None = None

    def add_lost(self, reason: str) -> bool:
        """Count a lost frame, and return whether it is the first with such a reason."""
        kind = _kind(reason)
        known = next((other for other in self.lost if _kind(other) == kind), None)
        if known is None and len(self.lost) >= MAX_REASONS:
            known = "other reasons"
        first = known is None
        self.lost[known or reason] = self.lost.get(known or reason, 0) + 1
        return first

    def add_statistics(
        self, before: Counts, statistics: Mapping[str, int], start: Mapping[str, int]
    ) -> None:
        """Set what a describer counted since ``start``, added to ``before``."""
        for name, key in (("asked", "regions_asked"), ("cache_hits", "cache_hits")):
            if key in statistics:
                gained = statistics[key] - start.get(key, 0)
                setattr(self, name, (getattr(before, name) or 0) + gained)


def _kind(reason: str) -> str:
    # Reasons that differ only in a number, such as a size, count as the same.
    return re.sub(r"\d+", "#", reason)


@dataclass(frozen=True, kw_only=True)
class Summary:
    """The summary of one recording.

    ``regions`` are counted by status, ``by_fallback`` those that the fallback described. ``now``:
    this run made at least one output.
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
        """Return the lines for the terminal."""
        counts = self.counts
        rate = f", {counts.frames / counts.seconds:.1f} frames/s" if counts.seconds else ""
        took = f"in {counts.seconds:.1f} s{rate}; outputs in {self.outputs_s:.1f} s"
        lines = [
            f"{self.bag}: {counts.frames} frames of {', '.join(self.topics)} "
            + (took if self.now else "before this run"),
            f"  keyframes: {_sum(self.keyframes)}",
            f"  regions: {_sum(self.regions)} on {self.tracks} tracks"
            + (f"; {self.by_fallback} described by the fallback" if self.by_fallback else ""),
        ]
        if counts.asked is not None:
            lines.append(f"  describer: {counts.asked} calls, {counts.cache_hits} from the cache")
        for reason, count in counts.lost.items():
            lines.append(f"  {count} frames left out: {reason}")
        return [*lines, f"  -> {self.folder}: {', '.join(self.outputs)}"]

    def to_json(self) -> bytes:
        """Return the content of ``summary.json``."""
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
    scenes: Path, settings: DescriberSettings, describer: str, counts: Counts, **fields: Any
) -> Summary:
    """Read the scenes of a recording once and return the summary.

    ``describer`` is the name of the describer in use, ``fields`` are the other fields of the
    summary. Raises JournalError and OSError.
    """
    keyframes: Counter[str] = Counter()
    statuses: Counter[str] = Counter()
    tracks: set[tuple[str, str]] = set()
    by_fallback = 0
    fallback = settings.fallback if settings.fallback != settings.backend else ""
    for number, line in enumerate(lines_of(scenes), start=1):
        try:
            scene = scene_fields(line)
            keyframes[scene["reason"]] += 1
            for region in scene["regions"]:
                statuses[region["status"]] += 1
                tracks.add((scene["topic"], region["track_id"]))
                if region["status"] in ("described", "reused"):
                    by_fallback += region["describer"] == fallback or (
                        region["describer"] != describer
                    )
        except SceneError as error:
            raise JournalError(f"{scenes}, line {number}: {error}") from None
        except (ValueError, LookupError, TypeError) as error:
            raise JournalError(f"{scenes}, line {number}: {not_a_scene(error)}") from None
    return Summary(
        counts=counts,
        keyframes=dict(keyframes.most_common()),
        regions={name: statuses[name] for name in ("described", "reused", "failed", "pending")},
        by_fallback=by_fallback,
        tracks=len(tracks),
        **fields,
    )


def _sum(counts: Mapping[str, int]) -> str:
    parts = [f"{count} {name}" for name, count in counts.items() if count]
    return f"{sum(counts.values())}" + (f" ({', '.join(parts)})" if parts else "")


def counts_from(content: Mapping[str, Any]) -> Counts:
    """Return the counts that were saved with ``dataclasses.asdict``. Raises JournalError."""
    names = {item.name for item in dataclasses.fields(Counts)}
    counts = Counts(**{name: value for name, value in content.items() if name in names})
    whole = (counts.frames, counts.asked or 0, counts.cache_hits or 0, *_values(counts.lost))
    lines = (*_items(counts.warnings), *_items(counts.backend_warnings))
    if (
        not all(type(count) is int and 0 <= count < MAX_COUNT for count in whole)
        or not isinstance(counts.seconds, (int, float))
        or not 0 <= counts.seconds < MAX_COUNT
        or not all(isinstance(line, str) for line in lines)
    ):
        raise JournalError("the counts of the saved state are none; start again with --overwrite")
    return counts


def _values(lost: object) -> Sequence[object]:
    return list(lost.values()) if isinstance(lost, dict) else [None]


def _items(lines: object) -> Sequence[object]:
    return lines if isinstance(lines, list) else [None]
