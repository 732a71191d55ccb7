"""Binary masks: box, scaling between working and source size, COCO run-length encoding.

Working masks are HxW bool arrays. The source image is never smaller than the working image. A
source pixel always has the value of the working pixel that contains its centre, so that box, area,
RLE and scaled mask agree to the pixel.
"""

from __future__ import annotations

import operator
import reprlib
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deep_perception.images.pixels import check_size

Mask = NDArray[np.bool_]
# The most characters (of 5 bits) of one run length that fit into 64 bits.
_LONGEST = 12
# Characters of all run lengths: a mask of noise in the largest image has fewer.
_MOST = 1 << 24


class Box(NamedTuple):
    """Pixels [x1, x2) x [y1, y2) of the source image."""

    x1: int
    y1: int
    x2: int
    y2: int

    @property
    def width(self) -> int:
        return self.x2 - self.x1

    @property
    def height(self) -> int:
        return self.y2 - self.y1


class Size(NamedTuple):
    """Width and height in pixels."""

    width: int
    height: int


@dataclass(frozen=True)
class Rle:
    """A mask as COCO compressed run lengths (column-major, the first run is background)."""

    size: Size
    counts: str

    @property
    def area(self) -> int:
        """Number of mask pixels."""
        return int(_decompress(self.counts)[1::2].sum())

    @property
    def runs(self) -> NDArray[np.int64]:
        """Lengths of the runs. Raises ValueError if they do not fill an image, or a huge one."""
        check_size(*self.size, pixel_bytes=1)
        runs, pixels = _decompress(self.counts), self.size.width * self.size.height
        if runs.min(initial=0) < 0 or runs.max(initial=0) > pixels or runs.sum() != pixels:
            raise ValueError(
                f"RLE runs add up to {runs.sum(dtype=np.float64):.0f} pixels, expected "
                f"{self.size.width}x{self.size.height}"
            )
        return runs


class Cut(NamedTuple):
    """A mask cut to its box; the box and the size of the whole mask are in the mask's pixels."""

    inside: Mask
    box: Box
    size: Size


def size_of(image: NDArray[np.generic]) -> Size:
    """Size of an HxW or HxWxC array."""
    return Size(image.shape[1], image.shape[0])


def source_index(working: int, source: int) -> NDArray[np.int64]:
    """For each of ``source`` pixels along one axis, the working pixel that contains its centre."""
    return (2 * np.arange(source, dtype=np.int64) + 1) * working // (2 * source)


def to_source(position: int, working: int, source: int) -> int:
    """The source pixel at the centre of a working pixel, along one axis."""
    return (2 * position + 1) * source // (2 * working)


def box_of(mask: Mask) -> Box:
    """The tight box of a mask in its own pixels. Raises ValueError if the mask is empty."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    if rows.size == 0:
        raise ValueError("an empty mask has no box")
    return Box(int(columns[0]), int(rows[0]), int(columns[-1]) + 1, int(rows[-1]) + 1)


def cut(mask: Mask) -> Cut:
    """Cut a mask to its box. Raises ValueError if it is empty."""
    box = box_of(mask)
    return Cut(mask[box.y1 : box.y2, box.x1 : box.x2], box, size_of(mask))


def scale_box(box: Box, working: Size, source: Size) -> Box:
    """The box in source pixels of the scaled mask, given its box in working pixels."""
    columns = source_index(working.width, source.width)
    rows = source_index(working.height, source.height)
    x1, x2 = np.searchsorted(columns, [box.x1, box.x2])
    y1, y2 = np.searchsorted(rows, [box.y1, box.y2])
    return Box(int(x1), int(y1), int(x2), int(y2))


def scale_mask(mask: Mask, source: Size, window: Box | None = None) -> Mask:
    """The mask at source size, or only the part of it inside ``window`` (source pixels)."""
    working = size_of(mask)
    window = window or Box(0, 0, source.width, source.height)
    rows = source_index(working.height, source.height)[window.y1 : window.y2]
    columns = source_index(working.width, source.width)[window.x1 : window.x2]
    return mask[rows][:, columns]


def encode(mask: Mask, source: Size | None = None) -> Rle:
    """Encode a mask at source size directly from the runs of the working mask.

    The bytes are equal to ``pycocotools.mask.encode(np.asfortranarray(scaled_mask))``. pycocotools
    is not used, because without a rosdep key a robot cannot install it with the package.
    """
    source = source or size_of(mask)
    height, width = mask.shape
    if not mask.any():
        return Rle(source, _compress(np.array([source.width * source.height])))
    box = box_of(mask)
    # A run starts or ends where a pixel differs from the one above it; outside the mask is 0.
    padded = np.zeros((height + 2, box.x2 - box.x1), np.bool_)
    padded[1:-1] = mask[:, box.x1 : box.x2]
    toggles = (padded[1:] != padded[:-1]).T
    row_starts = np.searchsorted(source_index(height, source.height), np.arange(height + 1))
    columns = source_index(width, source.width)
    first, last = np.searchsorted(columns, [box.x1, box.x2])
    column, row = np.nonzero(toggles[columns[first:last] - box.x1])
    positions = (column + first) * source.height + row_starts[row]
    # A run that ends at the bottom of a column continues if the next column starts in the mask.
    same = np.flatnonzero(positions[1:] == positions[:-1])
    positions = np.delete(positions, np.concatenate([same, same + 1]))
    ends = np.concatenate([[0], positions, [source.width * source.height]])
    counts = np.diff(ends)
    return Rle(source, _compress(counts[:-1] if counts[-1] == 0 else counts))


def to_coco(rle: Rle) -> dict[str, Any]:
    """Return what pycocotools takes and JSON holds: ``size`` as height, width, and ``counts``."""
    return {"size": [rle.size.height, rle.size.width], "counts": rle.counts}


def from_coco(segmentation: Mapping[str, Any]) -> Rle:
    """Return the RLE of such a dict; ``counts`` may be text, bytes or a list of run lengths.

    Raises ValueError if it is no such dict.
    """
    try:
        height, width = (operator.index(side) for side in segmentation["size"])
        counts = segmentation["counts"]
        if isinstance(counts, (bytes, bytearray)):
            counts = counts.decode("ascii")
        elif not isinstance(counts, str):
            counts = _compress(np.array([operator.index(run) for run in counts], np.int64))
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise ValueError(
            f"{reprlib.repr(segmentation)} is no mask; expected size [height, width] and counts, "
            f"COCO run lengths ({type(error).__name__}: {error})"
        ) from None
    if height < 1 or width < 1:
        raise ValueError(f"size of a mask is {[height, width]}, expected [height, width]")
    check_size(width, height, pixel_bytes=1)
    return Rle(Size(width, height), counts)


def decode(rle: Rle | Mapping[str, Any], window: Box | None = None) -> Mask:
    """Decode an RLE to an HxW bool mask, or only the part of it inside ``window``.

    ``rle`` may be the dict that pycocotools takes, such as a region's ``segmentation`` in JSON.
    Memory is used for that part only. Raises ValueError if the runs do not fill the image.
    """
    if not isinstance(rle, Rle):
        rle = from_coco(rle)
    runs, (width, height) = rle.runs, rle.size
    window = window or Box(0, 0, width, height)
    first = window.x1 * height
    ends = np.clip(np.cumsum(runs), first, window.x2 * height)
    flat = np.repeat(np.arange(len(runs)) % 2 == 1, np.diff(ends, prepend=first))
    return flat.reshape(window.width, height).T[window.y1 : window.y2]


def _compress(counts: NDArray[np.int64]) -> str:
    # This is rleToString of COCO's maskApi.c: 5 bits per character, and from the fourth run on the
    # difference to the run before the previous one.
    values = counts.astype(np.int64)
    values[3:] -= counts[1:-2]
    characters, active = [], np.ones(values.shape, np.bool_)
    while active.any():
        bits = values & 0x1F
        values >>= 5
        more = np.where(bits & 0x10, values != -1, values != 0)
        characters.append(np.where(active, bits + 48 + 32 * more, 0))
        active &= more
    return np.stack(characters, axis=1).astype(np.uint8).tobytes().replace(b"\0", b"").decode()


def _decompress(text: str) -> NDArray[np.int64]:
    if len(text) > _MOST:
        raise ValueError(f"counts of an RLE have {len(text)} characters, more than {_MOST}")
    characters = np.frombuffer(text.encode("utf-8", "replace"), np.uint8).astype(np.int64) - 48
    if characters.size and not (characters.min() >= 0 and characters.max() < 64):
        raise ValueError(f"counts of an RLE have characters that none has: {reprlib.repr(text)}")
    ends = np.flatnonzero((characters & 0x20) == 0)
    if characters.size and (not ends.size or ends[-1] + 1 < characters.size):
        raise ValueError("counts of an RLE are cut off: their last run is not complete")
    if not ends.size:
        return ends
    starts = np.concatenate([[0], ends[:-1] + 1])
    lengths = ends + 1 - starts
    if lengths.max() > _LONGEST:
        raise ValueError(f"an RLE run of {lengths.max()} characters")
    shifts = 5 * (np.arange(ends[-1] + 1) - np.repeat(starts, lengths))
    values = np.add.reduceat((characters[: ends[-1] + 1] & 0x1F) << shifts, starts)
    values -= ((characters[ends] & 0x10) > 0).astype(np.int64) << (5 * lengths)
    values[1::2], values[2::2] = np.cumsum(values[1::2]), np.cumsum(values[2::2])
    return values
