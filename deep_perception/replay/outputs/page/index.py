"""The index of a page, which is in memory for all keyframes: times, labels, tracks, counts.

It grows with the number of keyframes, tracks and different labels; descriptions, outlines and
images are not in it.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from deep_perception import drawing
from deep_perception.regions import Region
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.stamps import NANOSECONDS


class Ranges:
    """Ascending whole numbers as [start, end) pairs in one flat list."""

    def __init__(self) -> None:
        self.ends: list[int] = []

    def add(self, number: int) -> None:
        """Add a number that is not less than the last one; a repeated number has no effect."""
        if self.ends and self.ends[-1] >= number:
            self.ends[-1] = max(self.ends[-1], number + 1)
        else:
            self.ends += [number, number + 1]


@dataclass(eq=False)
class PageLabel:
    """A label, or the status of regions without one, with its regions and keyframes."""

    number: int
    regions: int = 0
    keyframes: Ranges = field(default_factory=Ranges)


@dataclass(eq=False)
class PageTrack:
    """A region over time, with its last label, its colour in the images, and its keyframes."""

    number: int
    label: int
    colour: str
    named: bool = False
    keyframes: Ranges = field(default_factory=Ranges)


class PageCamera:
    """The keyframes of one topic that are on the page."""

    def __init__(self, topic: str, total: int) -> None:
        self.topic, self.total = topic, total
        self.pictures_left_out = self.unreadable = 0
        self._start_ns = self._start_log_ns = self._last_log_ns = 0
        self._frames: list[list[Any]] = []
        self._labels: dict[tuple[str, str], PageLabel] = {}
        self._tracks: dict[str, PageTrack] = {}
        self._reasons: dict[str, int] = {}

    @property
    def count(self) -> int:
        """The number of keyframes so far."""
        return len(self._frames)

    def add(self, record: SceneRecord, block: int) -> list[tuple[int, int]]:
        """Add a keyframe, whose content is in a block of the page.

        Returns for each region the numbers of its label and of its track, -1 for no track.
        """
        if not self._frames:
            self._start_ns, self._start_log_ns = record.stamp_ns, record.log_ns
        self._last_log_ns = record.log_ns
        number = len(self._frames)
        self._frames.append(
            [
                block,
                record.keyframe,
                self.since_start(record.stamp_ns),
                self.since(self._start_log_ns, record.log_ns),
                self._reasons.setdefault(record.reason, len(self._reasons)),
                len(record.scene.regions),
            ]
        )
        return [self._add_region(region, number) for region in record.scene.regions]

    def _add_region(self, region: Region, keyframe: int) -> tuple[int, int]:
        description = region.description
        name = (description.label, "") if description.label else ("", description.status)
        label = self._labels.setdefault(name, PageLabel(len(self._labels)))
        label.regions += 1
        label.keyframes.add(keyframe)
        if not region.track_id:
            return label.number, -1
        new = PageTrack(len(self._tracks), label.number, colour_of(region))
        track = self._tracks.setdefault(region.track_id, new)
        track.keyframes.add(keyframe)
        # The track keeps its last label, or the last status if it was never described.
        if description.label or not track.named:
            track.label, track.named = label.number, bool(description.label)
        return label.number, track.number

    def since_start(self, stamp_ns: int) -> float:
        """Return the seconds since the first keyframe."""
        return self.since(self._start_ns, stamp_ns)

    @staticmethod
    def since(start_ns: int, end_ns: int) -> float:
        """Return the seconds between two times, to the millisecond."""
        return round((end_ns - start_ns) / NANOSECONDS, 3)

    def content(self, stop_ns: int | None) -> dict[str, Any]:
        """Return the JSON-ready content; ``stop_ns`` is the end of the recording, if known."""
        tail_ns = None if stop_ns is None else max(0, stop_ns - self._last_log_ns)
        times = [frame[2] for frame in self._frames]

        def duration(track: PageTrack) -> tuple[float, int]:
            ends = track.keyframes.ends
            return times[ends[-1] - 1] - times[ends[0]], sum(ends[1::2]) - sum(ends[::2])

        longest = sorted(self._tracks.values(), key=duration, reverse=True)
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
                {"id": track_id, "label": track.label, "colour": track.colour}
                | {"keyframes": track.keyframes.ends}
                for track_id, track in self._tracks.items()
            ],
            "longest": [track.number for track in longest],
        }


class PageTotals:
    """Counts of the backends, statuses and warnings of all keyframes."""

    def __init__(self) -> None:
        self._segmenters: Counter[str] = Counter()
        self._describers: Counter[str] = Counter()
        self._statuses: Counter[str] = Counter()
        self._warnings: Counter[str] = Counter()

    def add(self, record: SceneRecord) -> None:
        """Count a keyframe."""
        scene = record.scene
        self._segmenters[_backend(scene.segmenter, scene.segmenter_model)] += 1
        self._warnings.update(dict.fromkeys(scene.warnings, 1))
        for region in scene.regions:
            description = region.description
            self._statuses[description.status] += 1
            if description.describer:
                self._describers[_backend(description.describer, description.model)] += 1

    def content(self) -> dict[str, Any]:
        """Return the JSON-ready content; keys are in the order of their first occurrence."""
        return {
            "segmenters": dict(self._segmenters),
            "describers": dict(self._describers),
            "statuses": dict(self._statuses),
            "scene_warnings": dict(self._warnings),
        }


def colour_of(region: Region) -> str:
    """Return the CSS colour of a region, which it also has in an annotated image."""
    blue, green, red = drawing.color_of(region)
    return f"#{red:02x}{green:02x}{blue:02x}"


def _backend(name: str, model: str) -> str:
    return f"{name} ({model})" if model else name
