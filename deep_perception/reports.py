"""The scene as files: the text report and the JSON report."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path
from typing import Any

from deep_perception import __version__
from deep_perception.regions import Region, Scene


def write_reports(folder: Path, name: str, scene: Scene, *, title: str) -> None:
    """``<name>_analysis_report.txt`` and ``.json`` in a folder that is made. Raises OSError."""
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, report in ((".txt", text_report), (".json", json_report)):
        path = folder / f"{name}_analysis_report{suffix}"
        # A file name that is no valid text must not cost the report.
        path.write_text(report(scene, title), encoding="utf-8", errors="backslashreplace")


def text_report(scene: Scene, name: str) -> str:
    """One item per region: source, point of interest, bounding box x1, y1, x2, y2, description."""
    width, height = scene.size
    lines = [
        f"Analysis report: {name}",
        f"Picture: {width}x{height} px",
        f"Segmenter: {_backend(scene.segmenter, scene.segmenter_model)}",
        *([f"Points proposed: {scene.proposed_points}"] if scene.proposed_points else []),
        f"Points left out: {len(scene.skipped_points)}",
        f"Regions: {len(scene.regions)}, covering {100 * scene.coverage:.1f} % of the picture",
        *([f"Time: {scene.timings.total_s:.2f} s"] if scene.timings.total_s else []),
        *(f"Warning: {warning}" for warning in (*scene.warnings, scene.undescribed) if warning),
    ]
    for region in scene.regions:
        lines += ["", *_item(region)]
    return "\n".join(lines) + "\n"


def _item(region: Region) -> list[str]:
    words = region.description
    x1, y1, x2, y2 = region.box
    lines = [
        region.name,
        f"  Source: {region.point.source}",
        f"  Point of interest: ({region.point.x}, {region.point.y})",
        f"  Bounding box (x1, y1, x2, y2): {x1}, {y1}, {x2}, {y2}",
    ]
    if words.status == "failed":
        return [*lines, f"  Not described: {words.error}"]
    if words.status == "pending":
        return [*lines, "  Not described yet"]
    return [
        *lines,
        f"  Label: {words.label}",
        f"  Description: {words.text}",
        f"  Described by: {_backend(words.describer, words.model)}",
    ]


def json_report(scene: Scene, name: str) -> str:
    """The whole scene, masks as COCO RLE, boxes as x1, y1, x2, y2 in source pixels."""
    return json.dumps({"image": name, **to_dict(scene)}, ensure_ascii=False, indent=1) + "\n"


def to_dict(scene: Scene, *, with_masks: bool = True) -> dict[str, Any]:
    """JSON-ready scene. ``bbox_xyxy`` is half-open: x2 and y2 are the first pixels outside."""
    return {
        "generator": f"deep_perception {__version__}",
        "width": scene.size.width,
        "height": scene.size.height,
        "segmenter": scene.segmenter,
        "segmenter_model": scene.segmenter_model,
        "coverage": round(scene.coverage, 4),
        "complete": scene.complete,
        "proposed_points": scene.proposed_points,
        "skipped_points": [[point.x, point.y] for point in scene.skipped_points],
        "warnings": list(scene.warnings),
        "timings": {
            key: round(value, 4) for key, value in dataclasses.asdict(scene.timings).items()
        },
        "regions": [_region_dict(region, with_masks=with_masks) for region in scene.regions],
    }


def _region_dict(region: Region, *, with_masks: bool) -> dict[str, Any]:
    rle = region.rle
    mask = {"segmentation": {"size": [rle.size.height, rle.size.width], "counts": rle.counts}}
    words = dataclasses.asdict(region.description)
    words["latency_s"] = round(words["latency_s"], 4)
    del words["reusable"]
    return {
        "name": region.name,
        "index": region.index,
        "track_id": region.track_id,
        "first_seen_ns": region.first_seen_ns,
        "last_described_ns": region.last_described_ns,
        "revision": region.revision,
        "source": region.point.source,
        "point": [region.point.x, region.point.y],
        "bbox_xyxy": list(region.box),
        "area": region.area,
        "score": round(region.score, 4),
        **words,
        **(mask if with_masks else {}),
    }


def _backend(name: str, model: str) -> str:
    return f"{name} ({model})" if model else name
