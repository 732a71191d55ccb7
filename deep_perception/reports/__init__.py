"""Scenes for other programs and people: report files, JSON fields and ROS messages."""

from __future__ import annotations

import json
from pathlib import Path

from deep_perception.images import IntensityRange
from deep_perception.redaction.output import clean_line
from deep_perception.regions import Region, Scene
from deep_perception.reports.fields import scene_fields
from deep_perception.untrusted.places import make_way
from deep_perception.untrusted.text import LINE, printable


def write_reports(
    folder: Path, name: str, scene: Scene, *, title: str, exif_orientation: int = 1
) -> None:
    """Write ``<name>_analysis_report.txt`` and ``.json``, and make the folder. Raises OSError.

    ``exif_orientation`` is the one by which the image was turned before its analysis.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for suffix, report in ((".txt", text_report), (".json", json_report)):
        path = folder / f"{name}_analysis_report{suffix}"
        make_way(path)
        # A file name may hold bytes that are no valid text; the report is written all the same.
        path.write_text(
            report(scene, title, exif_orientation), encoding="utf-8", errors="backslashreplace"
        )


def text_report(scene: Scene, name: str, exif_orientation: int = 1) -> str:
    """Return one item for each region: source, point, bounding box x1, y1, x2, y2, description."""
    width, height = scene.size
    lines = [
        f"Analysis report: {printable(name, LINE)}",
        f"Picture: {width}x{height} px",
        *(
            [f"Turned upright: EXIF orientation {exif_orientation}"]
            if exif_orientation != 1
            else []
        ),
        *([_intensities(scene.intensity_range)] if scene.intensity_range else []),
        f"Segmenter: {_backend(scene.segmenter, scene.segmenter_model)}",
        *([f"Points proposed: {scene.proposed_points}"] if scene.proposed_points else []),
        f"Points left out: {len(scene.skipped_points)}",
        f"Regions: {len(scene.regions)}, covering {100 * scene.coverage:.1f} % of the picture",
        *([f"Time: {scene.timings.total_s:.2f} s"] if scene.timings.total_s else []),
        *(f"Warning: {clean_line(text)}" for text in (*scene.warnings, scene.undescribed) if text),
    ]
    for region in scene.regions:
        lines += ["", *_item(region)]
    return "\n".join(lines) + "\n"


def json_report(scene: Scene, name: str, exif_orientation: int = 1) -> str:
    """Return the scene as JSON; masks are COCO RLE, boxes x1, y1, x2, y2 in source pixels."""
    fields = {"image": name, "exif_orientation": exif_orientation, **scene_fields(scene)}
    return json.dumps(fields, ensure_ascii=False, indent=1) + "\n"


def _intensities(shown: IntensityRange) -> str:
    return (
        f"Intensities: {shown.low:.10g} and less is shown black, {shown.high:.10g} and more white"
    )


def _item(region: Region) -> list[str]:
    description = region.description
    x1, y1, x2, y2 = region.box
    lines = [
        region.name,
        f"  Source: {region.point.source}",
        f"  Point of interest: ({region.point.x}, {region.point.y})",
        f"  Bounding box (x1, y1, x2, y2): {x1}, {y1}, {x2}, {y2}",
    ]
    if description.status == "failed":
        return [*lines, f"  Not described: {clean_line(description.error)}"]
    if description.status == "pending":
        return [*lines, "  Not described yet"]
    return [
        *lines,
        f"  Label: {description.label}",
        f"  Description: {description.text}",
        f"  Described by: {_backend(description.describer, description.model)}",
    ]


def _backend(name: str, model: str) -> str:
    return f"{name} ({model})" if model else name
