"""Pairs of a picture and a text: WebDataset shards, and JSONL with pictures of their own."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deep_perception.masks import Box, Size
from deep_perception.replay.datasets.split import Split
from deep_perception.replay.datasets.writer import Labelled, Shot, encode_jpeg, encode_mask, to_json

# A shard is some hundred megabytes.
SHARD = 5000
# Of the box's sides around it, and at least so many pixels: the words tell things from others.
MARGIN, MIN_MARGIN = 0.1, 8
# 1980-01-01: GNU tar complains of older ones, and no output depends on when it was made.
MTIME_S = 315_532_800

README = """\
- `pairs-000000.tar`, ...: WebDataset shards with `.jpg` (the region's box and a margin, as
  recorded), `.mask.png` (255 inside the region), `.txt` (the words) and `.json` of each region
- `pairs.jsonl`: the same `.json`, one a line, with `file_name`, the picture's place in `crops`
"""


class Pairs:
    """A writer."""

    readme = README

    def __init__(self, folder: Path, classes: Sequence[str], split: Split) -> None:
        folder.mkdir(parents=True)
        self._folder = folder
        self._classes = classes
        self._count = 0
        self._tar: tarfile.TarFile | None = None
        self._lines = (folder / "pairs.jsonl").open("wb")

    def add(self, shot: Shot) -> None:
        """One picture and text for each of its regions. Raises OSError."""
        crops = self._folder / "crops" / shot.name
        if shot.regions:
            crops.mkdir(parents=True)
        for each in shot.regions:
            key = f"{shot.name}_{each.region.index:03d}"
            window = around(each.region.box, shot.seen.scene.size)
            jpeg = encode_jpeg(shot.picture[window.y1 : window.y2, window.x1 : window.x2])
            content = self._content(key, shot, each, window)
            text = each.region.description.text.encode("utf-8", "replace")
            mask = encode_mask(each.region.source_mask(window))
            tar = self._next()
            for end, data in ("jpg", jpeg), ("mask.png", mask), ("txt", text):
                _add(tar, f"{key}.{end}", data)
            _add(tar, f"{key}.json", to_json(content))
            path = crops / f"{key}.jpg"
            path.write_bytes(jpeg)
            place = path.relative_to(self._folder).as_posix()
            self._lines.write(to_json({"file_name": place, **content}) + b"\n")
            self._count += 1

    def _next(self) -> tarfile.TarFile:
        number, first = divmod(self._count, SHARD)
        if self._tar is None or not first:
            if self._tar is not None:
                self._tar.close()
            path = self._folder / f"pairs-{number:06d}.tar"
            self._tar = tarfile.open(path, "w", format=tarfile.USTAR_FORMAT)  # noqa: SIM115
        return self._tar

    def _content(self, key: str, shot: Shot, each: Labelled, window: Box) -> dict[str, Any]:
        region, seen = each.region, shot.seen
        words = region.description
        return {
            "key": key,
            "text": words.text,
            "label": words.label,
            "class": self._classes[each.number],
            "attributes": dict(words.attributes),
            "describer": words.describer,
            "model": words.model,
            "status": words.status,
            "track_id": region.track_id,
            "bbox_xyxy": list(region.box),
            "crop_xyxy": list(window),
            "area": region.area,
            "score": round(region.score, 6),
            "bag": shot.bag,
            "topic": seen.topic,
            "position": seen.position,
            "log_ns": seen.log_ns,
            "stamp_ns": seen.stamp_ns,
            "width": seen.scene.size.width,
            "height": seen.scene.size.height,
        }

    def finish(self) -> str:
        """Close the last shard."""
        self.close()
        return f"{self._count} pairs, shards: {-(-self._count // SHARD)}"

    def close(self) -> None:
        """Close the files."""
        self._lines.close()
        if self._tar is not None:
            self._tar.close()


def around(box: Box, size: Size) -> Box:
    """A box with its margin, inside of a picture of a size."""
    x = max(MIN_MARGIN, round(MARGIN * box.width))
    y = max(MIN_MARGIN, round(MARGIN * box.height))
    return Box(
        max(0, box.x1 - x),
        max(0, box.y1 - y),
        min(size.width, box.x2 + x),
        min(size.height, box.y2 + y),
    )


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    # What is not set here, such as the owner, is the same on all machines.
    member = tarfile.TarInfo(name)
    member.size, member.mtime = len(data), MTIME_S
    tar.addfile(member, io.BytesIO(data))
