"""One keyframe of a recording as a line of JSON, and back.

``scenes.jsonl`` is the journal of a replay: every other output is made from it. It holds nothing
that depends on the speed of the machine, so that the same recording gives the same bytes.
docs/scenes.md explains each key.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from deep_perception import masks
from deep_perception.images import IntensityRange
from deep_perception.images.pixels import check_size
from deep_perception.masks import Rle, Size
from deep_perception.points import Point
from deep_perception.redaction import scrub
from deep_perception.regions import Region, Scene
from deep_perception.reports.fields import region_fields, region_from_fields
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import REASON, printable

SCHEMA = "deep_perception.scene/2"
# Masks of the first version are ``rle``, the counts alone.
READABLE = ("deep_perception.scene/1", SCHEMA)
# Bytes of a line: a scene of a thousand regions with long descriptions has some millions.
LARGEST_LINE = 1 << 26
# What the fields of messages hold, and times in nanoseconds.
_WHOLE, _EARLIEST, _LATEST = 2**31, -(2**63), 2**64


class SceneError(ValueError):
    """A line is not a scene of a version that can be read; the message says why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneRecord:
    """A scene and the message of the recording that it was made from.

    ``position`` counts the messages of the recording from 0 in the order of reading, ``log_ns`` is
    when the message was recorded, and ``stamp_ns`` is the stamp of its header.
    """

    topic: str
    position: int
    log_ns: int
    stamp_ns: int
    frame_id: str
    keyframe: int
    reason: str
    scene: Scene


def to_line(record: SceneRecord) -> str:
    """Return compact JSON without a line break."""
    scene = record.scene
    content = {
        "schema": SCHEMA,
        "topic": record.topic,
        "position": record.position,
        "log_ns": record.log_ns,
        "stamp_ns": record.stamp_ns,
        "frame_id": record.frame_id,
        "keyframe": record.keyframe,
        "reason": record.reason,
        "width": scene.size.width,
        "height": scene.size.height,
        "intensity_range": scene.intensity_range and list(scene.intensity_range),
        "coverage": round(scene.coverage, 6),
        "complete": scene.complete,
        "proposed_points": scene.proposed_points,
        "skipped_points": [[point.x, point.y, point.source] for point in scene.skipped_points],
        "segmenter": scene.segmenter,
        "segmenter_model": scene.segmenter_model,
        "warnings": [scrub(warning) for warning in scene.warnings],
        "regions": [
            {**region_fields(region, digits=6), "segmentation": masks.to_coco(region.rle)}
            for region in scene.regions
        ],
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def from_line(line: bytes | str) -> SceneRecord:
    """Return the scene of a line; masks are at source size and decoded on demand.

    Raises SceneError, also for an RLE that cannot be decoded.
    """
    try:
        content = scene_fields(line)
        size = Size(_whole(content["width"]), _whole(content["height"]))
        check_size(*size)
        return SceneRecord(
            topic=_text(content["topic"]),
            position=_whole(content["position"], 2**63),
            log_ns=_time(content["log_ns"]),
            stamp_ns=_time(content["stamp_ns"]),
            frame_id=_text(content["frame_id"]),
            keyframe=_whole(content["keyframe"]),
            reason=_text(content["reason"]),
            scene=Scene(
                size=size,
                working_size=size,
                regions=tuple(_to_region(region, size) for region in content["regions"]),
                coverage=float(content["coverage"]),
                skipped_points=tuple(_point(*point) for point in content["skipped_points"]),
                proposed_points=_whole(content["proposed_points"]),
                segmenter=_text(content["segmenter"]),
                segmenter_model=_text(content["segmenter_model"]),
                warnings=tuple(map(_text, content["warnings"])),
                intensity_range=_range(content.get("intensity_range")),
            ),
        )
    except SceneError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise not_a_scene(error) from None


def scene_fields(line: bytes | str) -> Any:
    """Return the JSON of a line with a schema that can be read. Raises what ``from_line`` does."""
    try:
        content = read_json(line.removesuffix(b"\n") if isinstance(line, bytes) else line,
                            limit=LARGEST_LINE)  # fmt: skip
        schema = content["schema"]
    except (LookupError, TypeError, UntrustedError) as error:
        raise not_a_scene(error) from None
    if schema not in READABLE:
        raise SceneError(f"schema {printable(repr(schema))} is not understood, expected {SCHEMA!r}")
    return content


def not_a_scene(error: Exception) -> SceneError:
    """Return the error of a line for that of its content."""
    return SceneError(f"not a scene: {type(error).__name__}: {printable(error, REASON)}")


def _whole(value: Any, limit: int = _WHOLE) -> int:
    if type(value) is not int or not -limit < value < limit:
        raise ValueError(f"{printable(repr(value))} is no whole number below {limit}")
    return value


def _time(value: Any) -> int:
    if type(value) is not int or not _EARLIEST <= value < _LATEST:
        raise ValueError(f"{printable(repr(value))} is no time in nanoseconds")
    return value


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{printable(repr(value))} is no text")
    return value


def _point(x: Any, y: Any, source: Any) -> Point:
    if source not in ("contour", "grid"):
        raise ValueError(f"{printable(repr(source))} is no source of a point")
    return Point(_whole(x), _whole(y), source)


def _range(values: Any) -> IntensityRange | None:
    if values is None:
        return None
    low, high = map(float, values)
    if not low < high:
        raise ValueError(f"the intensity range {values}")
    return IntensityRange(low, high)


def _to_region(fields: Mapping[str, Any], size: Size) -> Region:
    if "segmentation" in fields:
        rle = masks.from_coco(fields["segmentation"])
    else:
        rle = Rle(size, fields["rle"])
    if rle.size != size:
        raise ValueError(f"a mask of {rle.size} in an image of {size}")
    region = region_from_fields(fields, rle=rle)
    _point(region.point.x, region.point.y, region.point.source)
    for number in (region.index, region.area, region.revision):
        _whole(number)
    for number in (region.first_seen_ns, region.last_described_ns):
        _time(number)
    _text(region.track_id)
    if not abs(region.score) < _WHOLE:
        raise ValueError(f"the score {region.score}")
    box = region.box
    if not (0 <= box.x1 < box.x2 <= size.width and 0 <= box.y1 < box.y2 <= size.height):
        raise ValueError(f"the box {[*box]} in an image of {size.width}x{size.height}")
    if rle.runs.size < 2:
        raise ValueError("an empty mask")
    return region


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file; the first one that is too long is cut off, and the last."""
    with path.open("rb") as file:
        while line := file.readline(LARGEST_LINE + 2):
            yield line
            if len(line) > LARGEST_LINE + 1:
                return
