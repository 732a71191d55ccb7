"""COCO: instances with exact masks, the same with polygons, and captions."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deep_perception import __version__
from deep_perception.replay.datasets.polygons import polygons
from deep_perception.replay.datasets.split import Split
from deep_perception.replay.datasets.writer import Labelled, Shot, to_json

README = """\
- `annotations/instances.json`: boxes, and masks as run lengths, exact to the pixel
- `annotations/instances_polygons.json`: the same ids, masks as polygons, straightened a little; a
  hole is reached and left by one line
- `annotations/captions.json`: what was said of each region, a caption each; its id is that of the
  instance
"""


class Coco:
    """A writer. Ids begin with 1: for pycocotools 0 means "not matched"."""

    readme = README

    def __init__(self, folder: Path, classes: Sequence[str], split: Split) -> None:
        self._images = folder / "images"
        self._annotations = folder / "annotations"
        self._images.mkdir(parents=True)
        self._annotations.mkdir()
        self._classes = classes
        self._shots = _Records(self._annotations / "images.part")
        self._instances = _Records(self._annotations / "instances.part")
        self._polygons = _Records(self._annotations / "polygons.part")
        self._captions = _Records(self._annotations / "captions.part")

    def add(self, shot: Shot) -> None:
        """One picture and its annotations. Raises OSError."""
        (self._images / f"{shot.name}.jpg").write_bytes(shot.jpeg)
        seen = shot.seen
        image_id = self._shots.count + 1
        self._shots.add(
            {
                "id": image_id,
                "file_name": f"{shot.name}.jpg",
                "width": seen.scene.size.width,
                "height": seen.scene.size.height,
                "bag": shot.bag,
                "topic": seen.topic,
                "position": seen.position,
                "log_ns": seen.log_ns,
                "stamp_ns": seen.stamp_ns,
                "frame_id": seen.frame_id,
                "keyframe": seen.keyframe,
            }
        )
        for each in shot.regions:
            self._annotate(image_id, each)

    def _annotate(self, image_id: int, each: Labelled) -> None:
        region, words = each.region, each.region.description
        size = region.rle.size
        identity = {"id": self._instances.count + 1, "image_id": image_id}
        instance = {
            **identity,
            "category_id": each.number + 1,
            "bbox": [region.box.x1, region.box.y1, region.box.width, region.box.height],
            "area": region.area,
            # Of 1 COCO means a crowd: it is left out of what a detector is measured by.
            "iscrowd": 0,
            "score": round(region.score, 6),
            "track_id": region.track_id,
            "label": words.label,
            "caption": words.text,
            "attributes": dict(words.attributes),
        }
        rle = {"size": [size.height, size.width], "counts": region.rle.counts}
        self._instances.add({**instance, "segmentation": rle})
        parts = polygons(region.source_mask(region.box), region.box, size)
        outlines = [[_short(number) for number in part.reshape(-1).tolist()] for part in parts]
        self._polygons.add({**instance, "segmentation": outlines})
        self._captions.add({**identity, "caption": words.text})

    def finish(self) -> str:
        """Put the files of annotations together."""
        self.close()
        head = {
            "info": {
                "description": "Regions and words",
                "version": f"deep_perception {__version__}",
            },
            "licenses": [],
        }
        categories = [
            {"id": number, "name": name, "supercategory": ""}
            for number, name in enumerate(self._classes, start=1)
        ]
        instances = {**head, "categories": categories}
        self._write("instances.json", instances, self._instances)
        self._write("instances_polygons.json", instances, self._polygons)
        self._write("captions.json", head, self._captions)
        for records in (self._shots, self._instances, self._polygons, self._captions):
            records.path.unlink()
        return f"{self._shots.count} pictures, {self._instances.count} regions"

    def _write(self, name: str, head: dict[str, Any], annotations: _Records) -> None:
        lists = {"images": self._shots, "annotations": annotations}
        with (self._annotations / name).open("wb") as file:
            file.write(to_json(head)[:-1])
            for key, records in lists.items():
                file.write(b',\n"%s":[\n' % key.encode())
                with records.path.open("rb") as part:
                    shutil.copyfileobj(part, file)
                file.write(b"\n]")
            file.write(b"}\n")

    def close(self) -> None:
        """Close the files."""
        for records in (self._shots, self._instances, self._polygons, self._captions):
            records.close()


class _Records:
    """A file with the objects of a list in JSON, one a line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.count = 0
        self._file = path.open("wb")

    def add(self, content: dict[str, Any]) -> None:
        self._file.write((b",\n" if self.count else b"") + to_json(content))
        self.count += 1

    def close(self) -> None:
        self._file.close()


def _short(number: float) -> float | int:
    return int(number) if number.is_integer() else number
