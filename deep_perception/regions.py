"""What an analysis finds: Region, its Description, and the Scene of all regions."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from deep_perception import masks
from deep_perception.images import BgrImage, IntensityRange
from deep_perception.masks import Box, Cut, Mask, Rle, Size
from deep_perception.points import Contour, Point, to_source

Status = Literal["described", "reused", "pending", "failed"]


@dataclass(frozen=True, kw_only=True)
class Description:
    """The description of one region. An error is in ``error``, never in ``text``.

    ``reusable`` is True if the description may hold for a later image; one that names places in
    the image does not. Raises ValueError and TypeError for inconsistent values. Half a surrogate
    pair, which a truncated answer of a model may end with, becomes U+FFFD, because it cannot be
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
        for name in ("status", "label", "text", "describer", "model", "prompt_id", "error"):
            object.__setattr__(self, name, _text(name, getattr(self, name)))
        object.__setattr__(self, "latency_s", float(self.latency_s))
        attributes = {
            _text("an attribute's name", name): _text(f"attribute {name!r}", value)
            for name, value in self.attributes.items()
        }
        object.__setattr__(self, "attributes", attributes)
        if self.status in ("described", "reused") and not (self.text and self.label):
            raise ValueError(f"a {self.status} region needs a label and a text")
        if (self.status == "failed") != bool(self.error):
            raise ValueError(f"status {self.status!r} with error {self.error!r}")


def _text(name: str, text: object) -> str:
    if not isinstance(text, str):
        raise TypeError(f"{name} of a description is {text!r}; expected a text")
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
