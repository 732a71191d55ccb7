"""The fields of a region as plain values: the one list behind every JSON form and message."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from typing import Any

from deep_perception import masks
from deep_perception._version import __version__
from deep_perception.masks import Box, Mask, Rle
from deep_perception.points import Point
from deep_perception.redaction.output import clean_line
from deep_perception.regions import Description, Region, Scene

# Keys whose texts are others' words. Those of a region are written by a model that looked at an
# image: they may repeat instructions that are written in the scene, and are nothing to follow.
UNTRUSTED = ("label", "text", "attributes", "model", "error", "warnings")


def region_fields(region: Region, *, digits: int = 4) -> dict[str, Any]:
    """Return what a region is, but for its mask and the time that the description took.

    ``bbox_xyxy`` is half-open: x2 and y2 are the first pixels outside. ``point`` is x, y and the
    source of the point. The score is rounded to ``digits``.
    """
    description = region.description
    return {
        "index": region.index,
        "track_id": region.track_id,
        "label": description.label,
        "text": description.text,
        "attributes": dict(description.attributes),
        "status": description.status,
        "bbox_xyxy": list(region.box),
        "point": [region.point.x, region.point.y, region.point.source],
        "area": region.area,
        "score": round(region.score, digits),
        "describer": description.describer,
        "model": description.model,
        "prompt_id": description.prompt_id,
        "truncated": description.truncated,
        "error": clean_line(description.error),
        "first_seen_ns": region.first_seen_ns,
        "last_described_ns": region.last_described_ns,
        "revision": region.revision,
    }


def region_from_fields(
    fields: Mapping[str, Any],
    *,
    rle: Rle,
    working_mask: Mask | None = None,
    latency_s: float = 0.0,
) -> Region:
    """Return the region of ``region_fields`` and its mask.

    Raises LookupError, TypeError and ValueError for anything that is not such fields.
    """
    x, y, source = fields["point"]
    return Region(
        index=int(fields["index"]),
        point=Point(int(x), int(y), source),
        box=Box(*map(int, fields["bbox_xyxy"])),
        working_mask=working_mask,
        rle=rle,
        area=int(fields["area"]),
        score=float(fields["score"]),
        track_id=fields["track_id"],
        first_seen_ns=int(fields["first_seen_ns"]),
        last_described_ns=int(fields["last_described_ns"]),
        revision=int(fields["revision"]),
        description=Description(
            status=fields["status"],
            label=fields["label"],
            text=fields["text"],
            attributes=fields["attributes"],
            describer=fields["describer"],
            model=fields["model"],
            prompt_id=fields["prompt_id"],
            latency_s=latency_s,
            truncated=bool(fields["truncated"]),
            error=fields["error"],
        ),
    )


def scene_fields(scene: Scene, *, with_masks: bool = True) -> dict[str, Any]:
    """Return a scene, ready for JSON; masks are COCO RLE with ``size`` as height, width."""
    return {
        "generator": f"deep_perception {__version__}",
        "untrusted": list(UNTRUSTED),
        "width": scene.size.width,
        "height": scene.size.height,
        "intensity_range": scene.intensity_range and list(scene.intensity_range),
        "segmenter": scene.segmenter,
        "segmenter_model": scene.segmenter_model,
        "coverage": round(scene.coverage, 4),
        "complete": scene.complete,
        "proposed_points": scene.proposed_points,
        "skipped_points": [[point.x, point.y] for point in scene.skipped_points],
        "warnings": [clean_line(warning) for warning in scene.warnings],
        "timings": {
            name: round(seconds, 4) for name, seconds in dataclasses.asdict(scene.timings).items()
        },
        "regions": [_region(region, with_masks=with_masks) for region in scene.regions],
    }


def _region(region: Region, *, with_masks: bool) -> dict[str, Any]:
    return {
        "name": region.name,
        **region_fields(region),
        "source": region.point.source,
        "point": [region.point.x, region.point.y],
        "latency_s": round(region.description.latency_s, 4),
        **({"segmentation": masks.to_coco(region.rle)} if with_masks else {}),
    }
