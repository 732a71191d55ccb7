"""What an analysis finds: Region, its Description, and the Scene of all regions."""

from __future__ import annotations

import dataclasses
import itertools
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal, get_args

from deep_perception import masks
from deep_perception.images import BgrImage, IntensityRange
from deep_perception.masks import Box, Cut, Mask, Rle, Size
from deep_perception.points import Contour, Point, to_source
from deep_perception.redaction.output import clean_line
from deep_perception.untrusted.text import printable
from deep_perception.untrusted.words import words

Status = Literal["described", "reused", "pending", "failed"]

# Characters of what a model says of one region, whichever backend asked it. The describers of this
# package use a third of that, or less.
MAX_LABEL, MAX_TEXT, MAX_NAME = 200, 4000, 200
# The attributes of a region, and the characters of each of their values.
MAX_ATTRIBUTES, MAX_VALUE = 32, 400
# What a duration of ROS holds.
MAX_LATENCY_S = 2.0**31


@dataclass(frozen=True, kw_only=True)
class Description:
    """The description of one region. An error is in ``error``, never in ``text``.

    ``reusable`` is True if the description may hold for a later image; one that names places in
    the image does not. Raises ValueError and TypeError for inconsistent values.

    Every text becomes one line without control characters and invisible ones, and is cut off at
    its maximum (``MAX_LABEL`` and so on): it is from a model, which read what the camera saw. Half
    a surrogate pair, which a truncated answer may end with, becomes U+FFFD, because it cannot be
    written or sent.
    """

    status: Status
    label: str = ""
    text: str = ""
    attributes: Mapping[str, str] = field(default_factory=dict)
    describer: str = ""
    model: str = ""
    prompt_id: str = ""
    latency_s: float = 0.0
    truncated: bool = False
    error: str = ""
    reusable: bool = True

    def __post_init__(self) -> None:
        for name, limit in _LIMITS.items():
            object.__setattr__(self, name, _text(name, getattr(self, name), limit))
        object.__setattr__(self, "error", clean_line(_valid("error", self.error)))
        object.__setattr__(self, "latency_s", float(self.latency_s))
        pairs = itertools.islice(self.attributes.items(), MAX_ATTRIBUTES)
        attributes = {
            _text("an attribute's name", name, MAX_NAME): _text("an attribute", value, MAX_VALUE)
            for name, value in pairs
        }
        object.__setattr__(self, "attributes", attributes)
        if self.status not in get_args(Status):
            raise ValueError(f"status {self.status!r} is none of {', '.join(get_args(Status))}")
        if not 0 <= self.latency_s < MAX_LATENCY_S:
            raise ValueError(f"latency_s is {self.latency_s}; expected seconds from 0")
        if self.status in ("described", "reused") and not (self.text and self.label):
            raise ValueError(f"a {self.status} region needs a label and a text")
        if (self.status == "failed") != bool(self.error):
            raise ValueError(f"status {self.status!r} with error {self.error!r}")


_LIMITS = {
    "status": MAX_NAME, "label": MAX_LABEL, "text": MAX_TEXT, "describer": MAX_NAME,
    "model": MAX_NAME, "prompt_id": MAX_NAME,
}  # fmt: skip


def _text(name: str, text: object, limit: int) -> str:
    valid = _valid(name, text)
    # Of a text that nobody could see, the escapes are shown.
    return words(valid, limit) or words(printable(valid, limit), limit)


def _valid(name: str, text: object) -> str:
    if not isinstance(text, str):
        shown = printable(repr(text))
        raise TypeError(f"{name} of a description is {shown}; expected a text")
    # The member of a string enumeration is reduced to its text.
    if type(text) is str and text.isascii():
        return text
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


PENDING = Description(status="pending")


@dataclass(frozen=True, eq=False, kw_only=True)
class Region:
    """One region of an image. Point, box, RLE and area are in pixels of the source image.

    ``working_mask`` is the HxW bool mask at working size; it is None for a region that was read
    from a file, whose mask is in the RLE. ``first_seen_ns`` is the stamp of the first image that
    showed the region and ``last_described_ns`` that of the image that its description was made
    from, in nanoseconds, 0 if there is none. ``revision`` counts changes of the description.
    """

    index: int
    point: Point
    box: Box
    working_mask: Mask | None
    rle: Rle
    area: int
    score: float
    track_id: str = ""
    first_seen_ns: int = 0
    last_described_ns: int = 0
    revision: int = 0
    description: Description = PENDING

    @classmethod
    def from_mask(
        cls, *, index: int, point: Point, mask: Mask, score: float, source: Size
    ) -> Region:
        """Return the region of a mask and a point at working size, scaled to the source image."""
        working = masks.size_of(mask)
        rle = masks.encode(mask, source)
        return cls(
            index=index,
            point=to_source(point, working, source),
            box=masks.scale_box(masks.box_of(mask), working, source),
            working_mask=mask,
            rle=rle,
            area=rle.area,
            score=score,
        )

    @property
    def name(self) -> str:
        """The name in reports and annotated images: D1, D2, ... in the order of the sweep."""
        return f"D{self.index}"

    @property
    def mask(self) -> Mask:
        """The HxW bool mask at working size, or decoded at source size if there is none."""
        return masks.decode(self.rle) if self.working_mask is None else self.working_mask

    def cut(self) -> Cut:
        """Return ``mask`` inside of its bounding box."""
        if self.working_mask is None:
            return Cut(masks.decode(self.rle, self.box), self.box, self.rle.size)
        return masks.cut(self.working_mask)

    def source_mask(self, window: Box | None = None) -> Mask:
        """Return the mask in source pixels (HxW bool), whole or only inside a window."""
        if self.working_mask is None:
            return masks.decode(self.rle, window)
        return masks.scale_mask(self.working_mask, self.rle.size, window)

    def described(self, description: Description) -> Region:
        """Return the same region with another description."""
        return dataclasses.replace(self, description=description)


@dataclass(frozen=True, kw_only=True)
class Timings:
    """The seconds that each step of one analysis took."""

    points_s: float = 0.0
    embed_s: float = 0.0
    sweep_s: float = 0.0
    describe_s: float = 0.0
    total_s: float = 0.0

    def with_descriptions(self, seconds: float) -> Timings:
        """Return the timings of a scene whose descriptions took this long after the sweep."""
        total_s = self.total_s - self.describe_s + seconds
        return dataclasses.replace(self, describe_s=seconds, total_s=total_s)


@dataclass(frozen=True, eq=False, kw_only=True)
class Scene:
    """All regions of one image, in the order of the sweep.

    ``size`` is that of the source image, ``skipped_points`` are in its pixels. ``working_image``
    (HxWx3 uint8 BGR) is the image that was swept; ``contours`` and ``points`` are what was found
    and proposed on it, in its pixels. A scene that was read from a file or a message has none of
    them. The working image may share its memory with the source image. ``intensity_range`` are the
    raw values that became the darkest and the brightest grey level of a source image of more than 8
    bits (depth, thermal, 16-bit cameras), None for others and where the caller did the conversion.
    """

    size: Size
    working_size: Size
    regions: tuple[Region, ...]
    coverage: float
    skipped_points: tuple[Point, ...]
    proposed_points: int
    segmenter: str
    segmenter_model: str
    warnings: tuple[str, ...] = ()
    timings: Timings = Timings()
    working_image: BgrImage | None = None
    contours: tuple[Contour, ...] = ()
    points: tuple[Point, ...] = ()
    intensity_range: IntensityRange | None = None

    def __post_init__(self) -> None:
        # A backend of the user's own writes them, or a server does.
        object.__setattr__(self, "warnings", tuple(map(clean_line, self.warnings)))
        for name in ("segmenter", "segmenter_model"):
            object.__setattr__(self, name, _text(name, getattr(self, name), MAX_NAME))

    @property
    def undescribed(self) -> str:
        """How many regions could not be described and why the first could not, or ""."""
        errors = [each.description.error for each in self.regions if each.description.error]
        if not errors:
            return ""
        return f"{len(errors)} of {len(self.regions)} regions not described: {errors[0]}"

    @property
    def complete(self) -> bool:
        """Whether every point was prompted and no region is pending."""
        return not self.skipped_points and all(
            region.description.status != "pending" for region in self.regions
        )
