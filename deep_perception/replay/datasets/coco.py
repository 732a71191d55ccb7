"""COCO datasets: instances with exact masks, the same with polygons, and captions."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deep_perception._version import __version__
from deep_perception.replay.datasets.polygons import polygons
from deep_perception.replay.datasets.split import SplitRule
from deep_perception.replay.datasets.writer import LabelledRegion, Sample, to_json

README = """\
- `annotations/instances.json`: boxes, and masks as run lengths, exact to the pixel
- `annotations/instances_polygons.json`: the same ids, masks as polygons, straightened a little; a
  hole is reached and left by one line
- `annotations/captions.json`: what was said of each region, a caption each; its id is that of the
  instance
"""


class Coco:
    """Writes a COCO dataset. Ids begin with 1, because 0 means "not matched" in pycocotools."""

    readme = README

    def __init__(self, folder: Path, classes: Sequence[str], split: SplitRule) -> None:
        self._images = folder / "images"
        self._annotations = folder / "annotations"
        self._images.mkdir(parents=True)
        self._annotations.mkdir()
        self._classes = classes
        self._image_list = _JsonList(self._annotations / "images.part")
        self._instances = _JsonList(self._annotations / "instances.part")
        self._polygons = _JsonList(self._annotations / "polygons.part")
        self._captions = _JsonList(self._annotations / "captions.part")
        self._lists = (self._image_list, self._instances, self._polygons, self._captions)

    def add(self, sample: Sample) -> None:
        """Write an image and its annotations. Raises OSError."""
        (self._images / f"{sample.name}.jpg").write_bytes(sample.jpeg)
        record = sample.record
        image_id = self._image_list.count + 1
        self._image_list.add(
            {
                "id": image_id,
                "file_name": f"{sample.name}.jpg",
                "width": record.scene.size.width,
                "height": record.scene.size.height,
                "bag": sample.bag,
                "topic": record.topic,
                "position": record.position,
                "log_ns": record.log_ns,
                "stamp_ns": record.stamp_ns,
                "frame_id": record.frame_id,
                "keyframe": record.keyframe,
            }
        )
        for labelled in sample.regions:
            self._annotate(image_id, labelled)

    def _annotate(self, image_id: int, labelled: LabelledRegion) -> None:
        region, description = labelled.region, labelled.region.description
        size = region.rle.size
        identity = {"id": self._instances.count + 1, "image_id": image_id}
        instance = {
            **identity,
            "category_id": labelled.class_id + 1,
            "bbox": [region.box.x1, region.box.y1, region.box.width, region.box.height],
            "area": region.area,
            # 1 would mean a crowd, which COCO's metrics ignore.
            "iscrowd": 0,
            "score": round(region.score, 6),
            "track_id": region.track_id,
            "label": description.label,
            "caption": description.text,
            "attributes": dict(description.attributes),
        }
        rle = {"size": [size.height, size.width], "counts": region.rle.counts}
        self._instances.add({**instance, "segmentation": rle})
        parts = polygons(region.source_mask(region.box), region.box, size)
        outlines = [[_short(number) for number in part.reshape(-1).tolist()] for part in parts]
        self._polygons.add({**instance, "segmentation": outlines})
        self._captions.add({**identity, "caption": description.text})

    def finish(self) -> str:
        """Write the files of annotations."""
        self.close()
        head = {
            "info": {
                "description": "Regions and words",
                "version": f"deep_perception {__version__}",
            },
            "licenses": [],
        }
        categories = [
            {"id": category_id, "name": name, "supercategory": ""}
            for category_id, name in enumerate(self._classes, start=1)
        ]
        instances = {**head, "categories": categories}
        self._write("instances.json", instances, self._instances)
        self._write("instances_polygons.json", instances, self._polygons)
        self._write("captions.json", head, self._captions)
        for json_list in self._lists:
            json_list.path.unlink()
        return f"{self._image_list.count} images, {self._instances.count} regions"

    def _write(self, name: str, head: dict[str, Any], annotations: _JsonList) -> None:
        lists = {"images": self._image_list, "annotations": annotations}
        with (self._annotations / name).open("wb") as file:
            file.write(to_json(head)[:-1])
            for key, json_list in lists.items():
                file.write(b',\n"%s":[\n' % key.encode())
                with json_list.path.open("rb") as part:
                    shutil.copyfileobj(part, file)
                file.write(b"\n]")
            file.write(b"}\n")

    def close(self) -> None:
        """Close the files."""
        for json_list in self._lists:
            json_list.close()


class _JsonList:
    """A file with the objects of a JSON list, one on each line."""

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
