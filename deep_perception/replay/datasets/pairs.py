"""Pairs of an image and a text: WebDataset shards, and JSONL with separate image files."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deep_perception.masks import Box, Size
from deep_perception.replay.datasets.split import SplitRule
from deep_perception.replay.datasets.writer import (
    LabelledRegion,
    Sample,
    encode_jpeg,
    encode_mask,
    to_json,
)

# Pairs in a shard, which then has some hundred megabytes.
PAIRS_PER_SHARD = 5000
# The margin around a box as a share of its sides, and at least in pixels. It shows the surroundings
# that descriptions refer to.
MARGIN, MIN_MARGIN = 0.1, 8
# 1980-01-01. The time is fixed so that the same input gives the same bytes; GNU tar warns of older
# times.
MTIME_S = 315_532_800

README = """\
- `pairs-000000.tar`, ...: WebDataset shards with `.jpg` (the region's box and a margin, as
  recorded), `.mask.png` (255 inside the region), `.txt` (the words) and `.json` of each region
- `pairs.jsonl`: the same `.json`, one a line, with `file_name`, the picture's place in `crops`
"""


class Pairs:
    """Writes a dataset of pairs."""

    readme = README

    def __init__(self, folder: Path, classes: Sequence[str], split: SplitRule) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._classes = classes
        self._count = 0
        self._tar: tarfile.TarFile | None = None
        self._lines = (folder / "pairs.jsonl").open("wb")

    def add(self, sample: Sample) -> None:
        """Write an image and a text for each region of a sample. Raises OSError."""
        crops = self._folder / "crops" / sample.name
        if sample.regions:
            crops.mkdir(parents=True)
        for labelled in sample.regions:
            region = labelled.region
            key = f"{sample.name}_{region.index:03d}"
            window = with_margin(region.box, sample.record.scene.size)
            jpeg = encode_jpeg(sample.image[window.y1 : window.y2, window.x1 : window.x2])
            content = self._content(key, sample, labelled, window)
            tar = self._shard()
            _add(tar, f"{key}.jpg", jpeg)
            _add(tar, f"{key}.mask.png", encode_mask(region.source_mask(window)))
            _add(tar, f"{key}.txt", region.description.text.encode("utf-8", "replace"))
            _add(tar, f"{key}.json", to_json(content))
            path = crops / f"{key}.jpg"
            path.write_bytes(jpeg)
            file_name = path.relative_to(self._folder).as_posix()
            self._lines.write(to_json({"file_name": file_name, **content}) + b"\n")
            self._count += 1

    def _shard(self) -> tarfile.TarFile:
        number, count = divmod(self._count, PAIRS_PER_SHARD)
        if self._tar is None or not count:
            if self._tar is not None:
                self._tar.close()
            path = self._folder / f"pairs-{number:06d}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        return self._tar

    def _content(
        self, key: str, sample: Sample, labelled: LabelledRegion, window: Box
    ) -> dict[str, Any]:
        region, record = labelled.region, sample.record
        description = region.description
        return {
            "key": key,
            "text": description.text,
            "label": description.label,
            "class": self._classes[labelled.class_id],
            "attributes": dict(description.attributes),
            "describer": description.describer,
            "model": description.model,
            "status": description.status,
            "track_id": region.track_id,
            "bbox_xyxy": list(region.box),
            "crop_xyxy": list(window),
            "area": region.area,
            "score": round(region.score, 6),
            "bag": sample.bag,
            "topic": record.topic,
            "position": record.position,
            "log_ns": record.log_ns,
            "stamp_ns": record.stamp_ns,
            "width": record.scene.size.width,
            "height": record.scene.size.height,
        }

    def finish(self) -> str:
        """Close the last shard."""
        self.close()
        return f"{self._count} pairs, shards: {-(-self._count // PAIRS_PER_SHARD)}"

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        if self._tar is not None:
            self._tar.close()


def with_margin(box: Box, size: Size) -> Box:
    """Return a box with its margin, clipped to an image of a size."""
    x = max(MIN_MARGIN, round(MARGIN * box.width))
    y = max(MIN_MARGIN, round(MARGIN * box.height))
    return Box(
        max(0, box.x1 - x),
        max(0, box.y1 - y),
        min(size.width, box.x2 + x),
        min(size.height, box.y2 + y),
    )


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # The other fields, such as the owner, keep defaults that are the same on all machines.
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), MTIME_S
    tar.addfile(member, io.BytesIO(data))
