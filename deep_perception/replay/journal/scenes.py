"""One analysed picture of a recording as a line of JSON, and back.

``scenes.jsonl`` is the journal of a replay: everything else is made from it. It holds nothing that
depends on the machine's speed, so that the same recording gives the same bytes. docs/scenes.md
says what each key means.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from deep_perception.masks import Box, Rle, Size
from deep_perception.points import Point
from deep_perception.regions import Description, Region, Scene

SCHEMA = "deep_perception.scene/1"


class SceneError(ValueError):
    """A line is no scene of a version that is understood; the message says why."""


@dataclass(frozen=True, eq=False, kw_only=True)
class SceneRecord:
    """A scene and the message of the recording that it was made from.

    ``position``: which message of the recording that is, from 0, in the order of reading;
    ``log_ns``: when it was recorded; ``stamp_ns``: its header's stamp.
    """

    topic: str
    position: int
    log_ns: int
    stamp_ns: int
    frame_id: str
    keyframe: int
    reason: str
    scene: Scene


def to_line(seen: SceneRecord) -> str:
    """Compact JSON without a line break."""
    scene = seen.scene
    content = {
        "schema": SCHEMA,
        "topic": seen.topic,
        "position": seen.position,
        "log_ns": seen.log_ns,
        "stamp_ns": seen.stamp_ns,
        "frame_id": seen.frame_id,
        "keyframe": seen.keyframe,
        "reason": seen.reason,
        "width": scene.size.width,
        "height": scene.size.height,
        "coverage": round(scene.coverage, 6),
        "complete": scene.complete,
        "proposed_points": scene.proposed_points,
        "skipped_points": [_point(point) for point in scene.skipped_points],
        "segmenter": scene.segmenter,
        "segmenter_model": scene.segmenter_model,
        "warnings": list(scene.warnings),
        "regions": [_region(region) for region in scene.regions],
    }
    return json.dumps(content, ensure_ascii=False, separators=(",", ":"))


def from_line(line: str) -> SceneRecord:
    """The scene of a line; masks are at source size, and made from the RLE when they are asked for.

    Raises SceneError, also for an RLE of which no mask could be made.
    """
    try:
        content = json.loads(line)
        schema = content["schema"]
        if schema != SCHEMA:
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
                skipped_points=tuple(_to_point(point) for point in content["skipped_points"]),
                proposed_points=int(content["proposed_points"]),
                segmenter=content["segmenter"],
                segmenter_model=content["segmenter_model"],
                warnings=tuple(content["warnings"]),
            ),
        )
    except SceneError:
        raise
    except (ValueError, LookupError, TypeError, AttributeError, OverflowError) as error:
        raise SceneError(f"not a scene: {type(error).__name__}: {error}") from None


def _point(point: Point) -> list[Any]:
    return [point.x, point.y, point.source]


def _to_point(point: list[Any]) -> Point:
    x, y, source = point
    return Point(int(x), int(y), source)


def _region(region: Region) -> dict[str, Any]:
    words = region.description
    return {
        "index": region.index,
        "track_id": region.track_id,
        "label": words.label,
        "text": words.text,
        "attributes": dict(words.attributes),
        "status": words.status,
        "bbox_xyxy": list(region.box),
        "point": _point(region.point),
        "area": region.area,
        "score": round(region.score, 6),
        "describer": words.describer,
        "model": words.model,
        "prompt_id": words.prompt_id,
        "truncated": words.truncated,
        "error": words.error,
        "first_seen_ns": region.first_seen_ns,
        "last_described_ns": region.last_described_ns,
        "revision": region.revision,
        "rle": region.rle.counts,
    }


def _to_region(content: Mapping[str, Any], size: Size) -> Region:
    rle, box = Rle(size, content["rle"]), Box(*map(int, content["bbox_xyxy"]))
    if not (0 <= box.x1 < box.x2 <= size.width and 0 <= box.y1 < box.y2 <= size.height):
        raise ValueError(f"the box {[*box]} in a picture of {size.width}x{size.height}")
    if rle.runs.size < 2:
        raise ValueError("an empty mask")
    return Region(
        index=int(content["index"]),
        point=_to_point(content["point"]),
        box=box,
        working_mask=None,
        rle=rle,
        area=int(content["area"]),
        score=float(content["score"]),
        track_id=content["track_id"],
        first_seen_ns=int(content["first_seen_ns"]),
        last_described_ns=int(content["last_described_ns"]),
        revision=int(content["revision"]),
        description=Description(
            status=content["status"],
            label=content["label"],
            text=content["text"],
            attributes=content["attributes"],
            describer=content["describer"],
            model=content["model"],
            prompt_id=content["prompt_id"],
            truncated=bool(content["truncated"]),
            error=content["error"],
        ),
    )
