"""What a dataset gets of one scene, and what all datasets have in common."""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, Protocol

import cv2
import numpy as np

from deep_perception.images import BgrImage
from deep_perception.masks import Mask
from deep_perception.regions import Region
from deep_perception.replay.journal.scenes import SceneRecord

JPEG_QUALITY = 95
# A name of a file is at most 255 bytes everywhere, and 100 in a tar file of the oldest kind.
LONGEST_BAG = 60

Part = Literal["train", "val"]


class ExportError(ValueError):
    """A dataset cannot be made; the message says why and what to do."""


@dataclass(frozen=True, eq=False, kw_only=True)
class Labelled:
    """A region with words, and its class as an index into the names of all classes."""

    region: Region
    number: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Shot:
    """One picture (HxWx3 uint8 BGR) and those of its regions that belong into a dataset.

    ``name`` is its own in all recordings: letters, digits, ``_`` and ``-``, a file name without
    its end.
    """

    name: str
    bag: str
    seen: SceneRecord
    picture: BgrImage
    regions: Sequence[Labelled]
    part: Part

    @cached_property
    def jpeg(self) -> bytes:
        """The picture, encoded."""
        return encode_jpeg(self.picture)


class Writer(Protocol):
    """Writes one dataset into a folder that it makes, shot by shot; memory does not grow.

    It is made of the folder, the names of the classes and the split.
    """

    readme: str
    """What is in the folder, in Markdown."""

    def add(self, shot: Shot) -> None:
        """Write one picture and its regions. Raises OSError."""
        ...

    def finish(self) -> str:
        """Write what comes last; returns in a few words what was written. Raises OSError."""
        ...

    def close(self) -> None:
        """Close the files, also of a dataset that is not finished."""
        ...


class Names:
    """Names of files for pictures of recordings with any names."""

    def __init__(self) -> None:
        self._of_bags: dict[str, str] = {}

    def of_bag(self, bag: str) -> str:
        """A name of its own, that of the recording as far as a file may be called so."""
        if bag not in self._of_bags:
            stem = re.sub(r"[^A-Za-z0-9_-]", "_", bag)[:LONGEST_BAG] or "bag"
            name, number = stem, 1
            # Windows and macOS take Drive and drive for the same file.
            taken = {each.lower() for each in self._of_bags.values()}
            while name.lower() in taken:
                number += 1
                name = f"{stem}_{number}"
            self._of_bags[bag] = name
        return self._of_bags[bag]

    def of(self, bag: str, seen: SceneRecord) -> str:
        """Of a picture: in a list of files they stand as they were recorded."""
        return f"{self.of_bag(bag)}_{seen.position:08d}"


def encode_jpeg(picture: BgrImage) -> bytes:
    """A picture (HxWx3 uint8 BGR) as JPEG. Raises OSError."""
    return _encoded(".jpg", picture, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def encode_mask(mask: Mask) -> bytes:
    """A mask as a grey PNG: 255 inside, 0 outside. Raises OSError."""
    return _encoded(".png", mask.astype(np.uint8) * 255, [])


def _encoded(kind: str, picture: BgrImage, options: list[int]) -> bytes:
    try:
        encoded, data = cv2.imencode(kind, picture, options)
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = picture.shape[:2]
        raise OSError(f"a picture of {width}x{height} pixels cannot be encoded as {kind[1:]}")
    return data.tobytes()


def to_json(content: dict[str, Any]) -> bytes:
    """An object in one line of JSON."""
    # A name of a file may hold what is no character; strict readers refuse the whole text for one.
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
