"""What a page of a replay knows of all its keyframes at once: times, labels, tracks, counts.

It grows with the number of keyframes, tracks and different labels; words, outlines and pictures
are not in it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from deep_perception import drawing
from deep_perception.regions import Region
from deep_perception.replay.journal.scenes import SceneRecord

NANOSECONDS = 1e9


class Runs:
    """Ascending whole numbers as [start, end) pairs in one flat list."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    def add(self, number: int) -> None:
        """Add a number that is not less than the one before; twice is once."""
        if self.ends and self.ends[-1] >= number:
            self.ends[-1] = max(self.ends[-1], number + 1)
        else:
            self.ends += [number, number + 1]


@dataclass(eq=False)
class Label:
    """A label, or a status without one: in how many regions, on which keyframes."""

    number: int
    regions: int = 0
    keyframes: Runs = field(default_factory=Runs)


@dataclass(eq=False)
class Track:
    """A region over time: its last label, its colour in the pictures, on which keyframes."""

    number: int
    label: int
    colour: str
    named: bool = False
    keyframes: Runs = field(default_factory=Runs)


class Camera:
    """The keyframes of one topic that are on the page."""

    def __init__(self, topic: str, total: int) -> None:
        self.topic, self.total = topic, total
        self.pictures_left_out = self.unreadable = 0
        self._start_ns = self._start_log_ns = self._last_log_ns = 0
        self._frames: list[list[Any]] = []
        self._labels: dict[tuple[str, str], Label] = {}
        self._tracks: dict[str, Track] = {}
        self._reasons: dict[str, int] = {}

    @property
    def count(self) -> int:
        """How many keyframes there are so far."""
        return len(self._frames)

    def add(self, seen: SceneRecord, block: int) -> list[tuple[int, int]]:
        """Add a keyframe, whose content is in a block of the page.

        Returns for each region the number of its label and of its track, -1 where it has none.
        """
        if not self._frames:
            self._start_ns, self._start_log_ns = seen.stamp_ns, seen.log_ns
        self._last_log_ns = seen.log_ns
        number = len(self._frames)
        self._frames.append(
            [
                block,
                seen.keyframe,
                self.since_start(seen.stamp_ns),
                round((seen.log_ns - self._start_log_ns) / NANOSECONDS, 3),
                self._reasons.setdefault(seen.reason, len(self._reasons)),
                len(seen.scene.regions),
            ]
        )
        return [self._add_region(region, number) for region in seen.scene.regions]

    def _add_region(self, region: Region, keyframe: int) -> tuple[int, int]:
        words = region.description
        name = (words.label, "") if words.label else ("", words.status)
        label = self._labels.setdefault(name, Label(len(self._labels)))
        label.regions += 1
        label.keyframes.add(keyframe)
        if not region.track_id:
            return label.number, -1
        new = Track(len(self._tracks), label.number, colour_of(region))
        track = self._tracks.setdefault(region.track_id, new)
        track.keyframes.add(keyframe)
        # The last label; of a region that was never described, why not.
        if words.label or not track.named:
            track.label, track.named = label.number, bool(words.label)
        return label.number, track.number

    def since_start(self, stamp_ns: int) -> float:
        """Seconds since the first keyframe."""
        return round((stamp_ns - self._start_ns) / NANOSECONDS, 3)

    def content(self, stop_ns: int | None) -> dict[str, Any]:
        """JSON-ready. ``stop_ns``: when the recording ends, where that is known."""
        tail_ns = None if stop_ns is None else max(0, stop_ns - self._last_log_ns)
        times = [frame[2] for frame in self._frames]

        def lived(track: Track) -> tuple[float, int]:
            ends = track.keyframes.ends
            return times[ends[-1] - 1] - times[ends[0]], sum(ends[1::2]) - sum(ends[::2])

        longest = sorted(self._tracks.values(), key=lived, reverse=True)
        return {
            "topic": self.topic,
            "total": self.total,
            "pictures_left_out": self.pictures_left_out,
            "unreadable": self.unreadable,
            "start_ns": str(self._start_ns),
            "tail_s": None if tail_ns is None else round(tail_ns / NANOSECONDS, 3),
            "reasons": list(self._reasons),
            "frames": self._frames,
            "labels": [
                {"name": name, "status": status, "regions": label.regions}
                | {"keyframes": label.keyframes.ends}
                for (name, status), label in self._labels.items()
            ],
            "tracks": [
                {"id": id_, "label": track.label, "colour": track.colour}
                | {"keyframes": track.keyframes.ends}
                for id_, track in self._tracks.items()
            ],
            "longest": [track.number for track in longest],
        }


class Totals:
    """Who found and described the regions, and what was complained of."""

    def __init__(self) -> None:
        self._segmenters: Counter[str] = Counter()
        self._describers: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()

    def add(self, seen: SceneRecord) -> None:
        """Count a keyframe."""
        scene = seen.scene
        self._segmenters[_backend(scene.segmenter, scene.segmenter_model)] += 1
        self._warnings.update(dict.fromkeys(scene.warnings, 1))
        for region in scene.regions:
            words = region.description
            self._statuses[words.status] += 1
            if words.describer:
                self._describers[_backend(words.describer, words.model)] += 1

    def content(self) -> dict[str, Any]:
        """JSON-ready; the keys of each are in the order that they were met in."""
        return {
            "segmenters": dict(self._segmenters),
            "describers": dict(self._describers),
            "statuses": dict(self._statuses),
            "scene_warnings": dict(self._warnings),
        }


def colour_of(region: Region) -> str:
    """The colour of a region in an annotated picture, as in CSS."""
    blue, green, red = drawing.color_of(region)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _backend(name: str, model: str) -> str:
    return f"{name} ({model})" if model else name
