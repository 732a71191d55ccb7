"""The samples of a dataset, one for each scene, and what all dataset writers have in common."""

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
# Characters. A file name has at most 255 bytes everywhere, and 100 in the oldest tar format.
MAX_BAG_NAME = 60

Split = Literal["train", "val"]


class ExportError(ValueError):
    """A dataset cannot be made; the message says why and what to do."""


@dataclass(frozen=True, eq=False, kw_only=True)
class LabelledRegion:
    """A described region, and its class as an index into the names of all classes."""

    region: Region
    class_id: int


@dataclass(frozen=True, eq=False, kw_only=True)
class Sample:
    """An image (HxWx3 uint8 BGR) with those of its regions that belong to the dataset.

    ``name`` is unique among all recordings and a file name without a suffix: letters, digits, ``_``
    and ``-``.
    """

    name: str
    bag: str
    record: SceneRecord
    image: BgrImage
    regions: Sequence[LabelledRegion]
    split: Split

    @cached_property
    def jpeg(self) -> bytes:
        """The image as JPEG."""
        return encode_jpeg(self.image)


class Writer(Protocol):
    """Writes one dataset into a folder that it creates, one sample after another.

    Its memory does not grow. The constructor takes the folder, the names of the classes and the
    rule of the split.
    """

    readme: str
    """The description of the folder, in Markdown."""

    def add(self, sample: Sample) -> None:
        """Write an image and its regions. Raises OSError."""

    def finish(self) -> str:
        """Write the last files and return a short summary. Raises OSError."""

    def close(self) -> None:
        """Close the files, also of an incomplete dataset."""


class FileNames:
    """Unique file names for the images of recordings with any names."""

    def __init__(self) -> None:
        self._of_bags: dict[str, str] = {}

    def of_bag(self, bag: str) -> str:
        """Return a unique name that resembles the recording's, as far as file names allow."""
        if bag not in self._of_bags:
            stem = re.sub(r"[^A-Za-z0-9_-]", "_", bag)[:MAX_BAG_NAME] or "bag"
            name, number = stem, 1
            # On Windows and macOS, Drive and drive are the same file.
            taken = {other.lower() for other in self._of_bags.values()}
            while name.lower() in taken:
                number += 1
                name = f"{stem}_{number}"
            self._of_bags[bag] = name
        return self._of_bags[bag]

    def of_image(self, bag: str, record: SceneRecord) -> str:
        """Return the name of an image; sorted names are in the order of recording."""
        return f"{self.of_bag(bag)}_{record.position:08d}"


def encode_jpeg(image: BgrImage) -> bytes:
    """Return an image (HxWx3 uint8 BGR) as JPEG. Raises OSError."""
    return _encode(".jpg", image, [cv2.IMWRITE_JPEG_QUALITY, JPEG_QUALITY])


def encode_mask(mask: Mask) -> bytes:
    """Return a mask as a grey PNG: 255 inside, 0 outside. Raises OSError."""
    return _encode(".png", mask.astype(np.uint8) * 255, [])


def _encode(suffix: str, image: BgrImage, options: list[int]) -> bytes:
    try:
        encoded, data = cv2.imencode(suffix, image, options)
    except cv2.error:
        encoded = False
    if not encoded:
        height, width = image.shape[:2]
        raise OSError(f"an image of {width}x{height} pixels cannot be encoded as {suffix[1:]}")
    return data.tobytes()


def to_json(content: dict[str, Any]) -> bytes:
    """Return an object in one line of JSON."""
    # A file name may contain surrogates, for which strict readers refuse the whole text.
    text = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
    return text.encode("utf-8", "replace")
