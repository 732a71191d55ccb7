"""YOLO datasets: bounding boxes or outlines, in the format of Ultralytics."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

import numpy as np
import yaml
from numpy.typing import NDArray

from deep_perception.masks import Size
from deep_perception.regions import Region
from deep_perception.replay.datasets.polygons import join, polygons
from deep_perception.replay.datasets.split import SplitRule
from deep_perception.replay.datasets.writer import Sample, Split

# Pixels. Ultralytics refuses an image with a shorter side.
MIN_SIDE = 10

README = """\
- `data.yaml`: for `yolo {task} train data=data.yaml`; paths are from its folder
- `images/train`, `images/val`, `labels/train`, `labels/val`: {split}
- `labels`: a line for each region: {line}; 0 to 1 of the picture's width and height
"""


class Yolo:
    """Writes ``class x y width height``, with the centre of the box."""

    line = "class, x and y of the box's middle, its width and height"
    task = "detect"

    def __init__(self, folder: Path, classes: Sequence[str], split: SplitRule) -> None:
        self._folder = folder
        self._classes = classes
        self._counts: Counter[str] = Counter()
        self._duplicates = self._too_small = 0
        self._split = split.description
        self.readme = ""
        for name in get_args(Split):
            for kind in ("images", "labels"):
                (folder / kind / name).mkdir(parents=True)

    def add(self, sample: Sample) -> None:
        """Write an image and its labels, an empty file without regions. Raises OSError.

        An image that is too small for Ultralytics is left out.
        """
        if min(sample.record.scene.size) < MIN_SIDE:
            self._too_small += 1
            return
        lines: dict[str, None] = {}
        for labelled in sample.regions:
            coordinates = self.coordinates(labelled.region, sample.record.scene.size)
            numbers = " ".join(f"{number:.6f}" for number in coordinates.reshape(-1))
            lines[f"{labelled.class_id} {numbers}\n"] = None
        self._counts[sample.split] += 1
        self._duplicates += len(sample.regions) - len(lines)
        image = self._folder / "images" / sample.split / f"{sample.name}.jpg"
        image.write_bytes(sample.jpeg)
        labels = self._folder / "labels" / sample.split / f"{sample.name}.txt"
        labels.write_bytes("".join(lines).encode())

    @staticmethod
    def coordinates(region: Region, size: Size) -> NDArray[np.float64]:
        """Return the (N, 2) numbers of a region's line, relative to the image's sides."""
        x1, y1, x2, y2 = region.box
        centre_and_sides = np.array([[(x1 + x2) / 2, (y1 + y2) / 2], [x2 - x1, y2 - y1]])
        return np.clip(centre_and_sides / size, 0.0, 1.0)

    def finish(self) -> str:
        """Write ``data.yaml`` and set ``readme``."""
        content = {
            "train": "images/train",
            "val": "images/val",
            "nc": len(self._classes),
            "names": dict(enumerate(self._classes)),
        }
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (self._folder / "data.yaml").write_bytes(text.encode("utf-8"))
        summary = f"{self._counts['train']} images in train, {self._counts['val']} in val"
        if not self._counts["val"]:
            summary += " (YOLO has nothing to validate with)"
        split = self._split
        if empty := [name for name in get_args(Split) if not self._counts[name]]:
            # A split is also empty if its images cannot be decoded or are too small.
            split = f"{' and '.join(empty)} without a picture that could be used ({split})"
        self.readme = README.format(task=self.task, line=self.line, split=split)
        if self._duplicates:
            summary += f"; {self._duplicates} duplicate lines left out"
        if self._too_small:
            summary += f"; {self._too_small} with less than {MIN_SIDE} pixels a side left out"
        return summary

    def close(self) -> None:
        """Do nothing: no file stays open."""


class YoloSeg(Yolo):
    """Writes ``class x y x y ...``: one outline, with parts and holes joined to it by lines."""

    line = "class, then x and y of each corner of its outline, parts and holes joined by lines"
    task = "segment"

    @staticmethod
    def coordinates(region: Region, size: Size) -> NDArray[np.float64]:
        """Return the (N, 2) corners of a region's outline, relative to the image's sides."""
        parts = polygons(region.source_mask(region.box), region.box, size)
        return np.clip(join(parts) / size, 0.0, 1.0)
