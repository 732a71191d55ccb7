"""The saved form of a resume point.

The bytes come from a folder that somebody else may have written, so that everything about them is
checked: see ``forms.py``.
"""

from __future__ import annotations

import dataclasses
import json
import zlib
from collections.abc import Collection
from typing import Any

import numpy as np

from deep_perception import masks
from deep_perception.images import fitted_size
from deep_perception.images.pixels import MAX_SIDE
from deep_perception.masks import Box, Size
from deep_perception.points import Point
from deep_perception.regions import Region, Scene
from deep_perception.replay.journal.forms import (
    Attributes,
    Bits,
    Fields,
    Form,
    FormError,
    Items,
    Maybe,
    Numbers,
    OneOf,
    Real,
    Source,
    Table,
    Whole,
    Written,
    unpack_bits,
)
from deep_perception.replay.journal.resume_forms import (
    COUNT,
    DECODER,
    KEYFRAMES,
    MAX_TOPICS,
    SAMPLER,
    SIZE,
    STAMP,
    STAMPS,
    TOPIC,
    TRACKER,
)
from deep_perception.replay.resume_point import ResumePoint
from deep_perception.settings import PointSettings, Settings, SweepSettings
from deep_perception.stream import Stream, _LastKeyframe
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import inflate
from deep_perception.untrusted.json_reader import read_json

# Bytes when inflated, and those of JSON among them. The state of a camera of 8 megapixels with a
# thousand regions has some ten million.
LIMIT, JSON_LIMIT = 1 << 28, 1 << 26


class UnusableState(ValueError):
    """The bytes are no resume point of this replay; the message says why."""


def dumps(point: ResumePoint) -> bytes:
    """Return the bytes of a resume point, b"" for one that is larger than what ``loads`` takes."""
    written = Written()
    content = json.dumps(_form(None).pack(point, written), separators=(",", ":")).encode()
    raw = b"\n".join((content, b"".join(written.arrays)))
    if len(content) > JSON_LIMIT or len(raw) > LIMIT:
        return b""
    # Level 1 is enough: most of the bytes are masks, which compress to almost nothing.
    return zlib.compress(raw, 1)


def loads(data: bytes, settings: Settings, topics: Collection[str]) -> ResumePoint:
    """Return the resume point of a replay of these topics. Raises UnusableState."""
    try:
        raw = memoryview(inflate(data, LIMIT))
        content, source = _parts(raw)
        point = _form(settings).unpack(content, source)
        if len(source.data):
            raise FormError(f"{len(source.data)} bytes are left")
    except (UntrustedError, FormError) as error:
        raise UnusableState(f"its saved state is unusable: {error}") from None
    assert isinstance(point, ResumePoint)
    for found in (point.streams, point.stamps, point.keyframes):
        if set(found) != set(topics):
            raise UnusableState("its saved state is unusable: it is of other topics")
    return point


def _parts(raw: memoryview) -> tuple[Any, Source]:
    end = bytes(raw[: JSON_LIMIT + 1]).find(b"\n")
    if end < 0:
        raise FormError("no end of its first line")
    return read_json(bytes(raw[:end]), limit=JSON_LIMIT), Source(raw[end + 1 :])


_SIDE = Whole(0, MAX_SIDE)


class _Last(Form):
    """The last keyframe, of whose scene the next one uses sizes, working image and regions.

    The masks take as much memory as in the replay itself: their size and number are limited by the
    settings, which a file cannot choose. What follows from a mask is calculated from it.
    """

    _region = Items(Whole(1, 2**31), _SIDE, _SIDE, OneOf(("contour", "grid")), Real(-1e9, 1e9),
                    _SIDE, _SIDE, _SIDE, _SIDE)  # fmt: skip

    def __init__(self, settings: Settings | None) -> None:
        self._settings = settings

    def pack(self, value: Any, to: Written) -> Any:
        scene = value.scene
        regions = []
        for region in scene.regions:
            inside, box, _ = masks.cut(region.mask)
            point = region.point
            items = (region.index, point.x, point.y, point.source, region.score, *box)
            regions.append(self._region.pack(items, to))
            Bits(inside.shape).pack(inside, to)
        working = None
        if scene.working_image is not None:
            working = Numbers("|u1", (None, None, 3)).pack(scene.working_image, to)
        sizes = [SIZE.pack(size, to) for size in (scene.size, scene.working_size)]
        return [STAMP.pack(value.stamp_ns, to), *sizes, regions, working]

    def unpack(self, content: Any, source: Source) -> Any:
        assert self._settings is not None
        points, sweep = self._settings.points, self._settings.sweep
        if not isinstance(content, list) or len(content) != 5:
            raise FormError("a last keyframe that is none")
        stamp_ns, size, working, found, shape = content
        size, working = SIZE.unpack(size, source), SIZE.unpack(working, source)
        if working != fitted_size(size.width, size.height, sweep.max_width, sweep.max_height):
            raise FormError(f"a working image of {working} for an image of {size}")
        limit = _most_regions(points, sweep)
        if not isinstance(found, list) or len(found) > limit:
            raise FormError(f"no list of at most {limit} regions")
        regions = tuple(self._to_region(item, size, working, source) for item in found)
        image = None
        if shape is not None:
            image = Numbers("|u1", (working.height, working.width, 3)).unpack(shape, source)
        scene = Scene(
            size=size, working_size=working, regions=regions, coverage=0.0, skipped_points=(),
            proposed_points=0, segmenter="", segmenter_model="", working_image=image,
        )  # fmt: skip
        return _LastKeyframe(scene, STAMP.unpack(stamp_ns, source), points, sweep)

    def _to_region(self, content: Any, size: Size, working: Size, source: Source) -> Region:
        index, x, y, kind, score, *corners = self._region.unpack(content, source)
        box = Box(*corners)
        if not (box.x1 < box.x2 <= working.width and box.y1 < box.y2 <= working.height):
            raise FormError(f"a box {[*box]} in an image of {[*working]}")
        mask = np.zeros((working.height, working.width), np.bool_)
        mask[box.y1 : box.y2, box.x1 : box.x2] = unpack_bits(source, (box.height, box.width))
        if not mask.any():
            raise FormError("an empty mask")
        region = Region.from_mask(
            index=index, point=Point(0, 0, kind), mask=mask, score=score, source=size
        )
        return dataclasses.replace(region, point=Point(x, y, kind))


def _most_regions(points: PointSettings, sweep: SweepSettings) -> int:
    """Return more regions than a scene has: a point gives one, and kept regions are added."""
    return 2 * (points.grid_columns * points.grid_rows + points.max_contour_points) + 64


def _form(settings: Settings | None) -> Fields:
    """Return the form of a resume point; to read one, the settings of the replay are needed."""
    stream = Attributes(
        Stream, keyframes=KEYFRAMES, decoder=DECODER, _tracker=TRACKER, _last=Maybe(_Last(settings))
    )
    return Fields(
        ResumePoint,
        sampler=SAMPLER,
        streams=Table(TOPIC, stream, MAX_TOPICS),
        keyframes=Table(TOPIC, COUNT, MAX_TOPICS),
        regions=COUNT,
        position=Whole(-1, 2**63),
        log_ns=Whole(-(2**63), 2**63),
        stamps=Table(TOPIC, STAMPS, MAX_TOPICS),
    )
