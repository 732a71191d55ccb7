"""One keyframe of a recording as a line of JSON, and back.

``scenes.jsonl`` is the journal of a replay: every other output is made from it. It holds nothing
that depends on the speed of the machine, so that the same recording gives the same bytes.
docs/scenes.md explains each key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deep_perception import masks
from deep_perception.images import IntensityRange
from deep_perception.masks import Rle, Size
from deep_perception.points import Point
from deep_perception.redaction import scrub
from deep_perception.regions import Region, Scene
from deep_perception.reports.fields import region_fields, region_from_fields

SCHEMA = "deep_perception.scene/2"
# Masks of the first version are ``rle``, the counts alone.
READABLE = ("deep_perception.scene/1", SCHEMA)


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


def from_line(line: str) -> SceneRecord:
    """Return the scene of a line; masks are at source size and decoded on demand.

    Raises SceneError, also for an RLE that cannot be decoded.
    """
    try:
        content = json.loads(line)
        schema = content["schema"]
        if schema not in READABLE:
            raise SceneError(f"schema {schema!r} is not understood, expected {SCHEMA!r}")
        size = Size(int(content["width"]), int(content["height"]))
        return SceneRecord(
            topic=content["topic"],
            position=int(content["position"]),
            log_ns=int(content["log_ns"]),
            stamp_ns=int(content["stamp_ns"]),
            frame_id=content["frame_id"],
            keyframe=int(content["keyframe"]),
            reason=content["reason"],
            scene=Scene(
                size=size,
                working_size=size,
                regions=tuple(_to_region(region, size) for region in content["regions"]),
                coverage=float(content["coverage"]),
                skipped_points=tuple(
                    Point(int(x), int(y), source) for x, y, source in content["skipped_points"]
                ),
                proposed_points=int(content["proposed_points"]),
                segmenter=content["segmenter"],
                segmenter_model=content["segmenter_model"],
                warnings=tuple(content["warnings"]),
                intensity_range=_range(content.get("intensity_range")),
            ),
        )
    except SceneError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise SceneError(f"not a scene: {type(error).__name__}: {error}") from None


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
    box = region.box
    if not (0 <= box.x1 < box.x2 <= size.width and 0 <= box.y1 < box.y2 <= size.height):
        raise ValueError(f"the box {[*box]} in an image of {size.width}x{size.height}")
    if rle.runs.size < 2:
        raise ValueError("an empty mask")
    return region
