"""YOLO: boxes or outlines as Ultralytics reads them."""

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
from deep_perception.replay.datasets.split import Split
from deep_perception.replay.datasets.writer import Part, Shot

# Pixels: Ultralytics refuses a picture with a shorter side.
SHORTEST_SIDE = 10

README = """\
- `data.yaml`: for `yolo {task} train data=data.yaml`; paths are from its folder
- `images/train`, `images/val`, `labels/train`, `labels/val`: {split}
- `labels`: a line for each region: {line}; 0 to 1 of the picture's width and height
"""


class Yolo:
    """A writer of ``class x y width height`` (the middle of the box)."""

    line = "class, x and y of the box's middle, its width and height"
    task = "detect"

    def __init__(self, folder: Path, classes: Sequence[str], split: Split) -> None:
        self._folder = folder
        self._classes = classes
        self._parts: Counter[str] = Counter()
        self._twins = self._small = 0
        self._split = split.rule
        self.readme = ""
        for part in get_args(Part):
            for kind in ("images", "labels"):
                (folder / kind / part).mkdir(parents=True)

    def add(self, shot: Shot) -> None:
        """One picture and its labels: an empty file where there is nothing. Raises OSError.

        A picture that is too small for Ultralytics is left out.
        """
        if min(shot.seen.scene.size) < SHORTEST_SIDE:
            self._small += 1
            return
        lines: dict[str, None] = {}
        for each in shot.regions:
            places = self.places(each.region, shot.seen.scene.size)
            numbers = " ".join(f"{place:.6f}" for place in places.reshape(-1))
            lines[f"{each.number} {numbers}\n"] = None
        self._parts[shot.part] += 1
        self._twins += len(shot.regions) - len(lines)
        picture = self._folder / "images" / shot.part / f"{shot.name}.jpg"
        picture.write_bytes(shot.jpeg)
        labels = self._folder / "labels" / shot.part / f"{shot.name}.txt"
        labels.write_bytes("".join(lines).encode())

    @staticmethod
    def places(region: Region, size: Size) -> NDArray[np.float64]:
        """(N, 2) numbers of a region's line, as parts of the picture's width and height."""
        x1, y1, x2, y2 = region.box
        middle_and_sides = np.array([[(x1 + x2) / 2, (y1 + y2) / 2], [x2 - x1, y2 - y1]])
        return np.clip(middle_and_sides / size, 0.0, 1.0)

    def finish(self) -> str:
        """Write ``data.yaml``, and make the README."""
        content = {
            "train": "images/train",
            "val": "images/val",
            "nc": len(self._classes),
            "names": dict(enumerate(self._classes)),
        }
        text = yaml.safe_dump(content, allow_unicode=True, sort_keys=False)
        (self._folder / "data.yaml").write_bytes(text.encode("utf-8"))
        said = f"{self._parts['train']} pictures in train, {self._parts['val']} in val"
        if not self._parts["val"]:
            said += " (YOLO has nothing to validate with)"
        split = self._split
        if empty := [part for part in get_args(Part) if not self._parts[part]]:
            # Also where its pictures cannot be read, or are too small.
            split = f"{' and '.join(empty)} without a picture that could be used ({split})"
        self.readme = README.format(task=self.task, line=self.line, split=split)
        if self._twins:
            said += f"; {self._twins} duplicate lines left out"
        if self._small:
            said += f"; {self._small} with less than {SHORTEST_SIDE} pixels a side left out"
        return said

    def close(self) -> None:
        """Nothing is open."""


class YoloSeg(Yolo):
    """A writer of ``class x y x y ...`` (the outline; its parts joined, its holes cut into it)."""

    line = "class, then x and y of each corner of its outline, parts and holes joined by lines"
    task = "segment"

    @staticmethod
    def places(region: Region, size: Size) -> NDArray[np.float64]:
        """(N, 2) corners of a region's outline, as parts of the picture's width and height."""
        parts = polygons(region.source_mask(region.box), region.box, size)
        return np.clip(join(parts) / size, 0.0, 1.0)
