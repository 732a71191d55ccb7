"""Images of more than 8 bits (depth, thermal, 10 to 16-bit cameras, floats) as 8-bit images.

Raw values have no common scale: millimetres, metres, hundredths of a kelvin, counts of a sensor.
The range that is shown is therefore taken from the image: the 1st to the 99th percentile of the
measured values, so that single pixels do not move it, and a margin around it, so that a small
object beyond it still differs from what surrounds it. The mapping is linear inside of the range and
never falls.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from deep_perception.images.pixels import BgrImage

Values = NDArray[Any]
Bools = NDArray[np.bool_]

# An object that covers more than a hundredth of the image is inside of the range.
PERCENTILES = (1.0, 99.0)
# Share of the measured span that is added at each end.
MARGIN = 0.125
# The shown span is at least this share of the values themselves, and this many standard deviations
# of the noise: otherwise a wall that is equally far or equally warm would be a picture of noise.
# The noise widens the span twofold at most, because fine texture looks like noise.
MIN_SHARE, MIN_SIGMAS, MAX_WIDENING = 0.01, 12.0, 2.0
# Median absolute difference of two neighbours with normal noise of standard deviation 1.
NEIGHBOURS, ENOUGH_NEIGHBOURS = 0.954, 256
# Unsigned 16-bit values that span more than this share of their type are shown as viewers do.
WIDE = 0.5
UINT16_MAX = 65535
# Values that are mapped at once.
BLOCK = 1 << 18
# Pixels that are looked at to find the range.
SAMPLE = 1 << 16
ROWS_FOR_NOISE = 48
# "No data" in disparity, depth, elevation and thermal images, if nothing is smaller.
NO_DATA = (-1.0, -16.0, -9999.0, -32767.0, -32768.0)
# Floats beyond it are the largest number of a type, which stands for "no data".
MAX_FLOAT = 1e30
TINY = 1e-30
# A smaller share of negative values is noise around 0 in an image of what cannot be negative.
FEW = 0.005
# A measurement that is this many times larger than the largest other one, of which there are at
# least ENOUGH, stands for "nothing in reach", as the far plane of a simulator does. A lower factor
# is enough for a value that at least this share of the pixels have: measurements have noise.
BEYOND_REACH, ENOUGH = 100.0, 0.2
ONE_VALUE_BEYOND, ONE_VALUE = 8.0, 0.01
# A stream takes a new range at once if more than MANY of the values lie outside of the old one,
# which happens at cuts. If fewer do for OUTSIDE_FRAMES frames, or if less than NARROW of the range
# was used for NARROW_FRAMES, its ends move by STEP of its span, four grey levels, at each frame.
MANY = 0.3
OUTSIDE_FRAMES, NARROW_FRAMES, NARROW, STEP = 3, 30, 0.4, 1 / 64


class IntensityRange(NamedTuple):
    """Raw values that become the darkest and the brightest grey level.

    ``low`` and what is below becomes 1, ``high`` and what is above becomes 255, and pixels without
    a measurement become 0. In an image of light (``mono16``, Bayer, colour) and in one that uses
    more than half of its 16 bits, ``low`` becomes 0.
    """

    low: float
    high: float


class Deep(NamedTuple):
    """Raw pixels: HxW, or HxWx3 in BGR order, of any real type but uint8.

    ``is_light`` says that they are brightnesses; otherwise 0 may mean "no measurement" (REP-118).
    """

    values: Values
    is_light: bool = False


class _Measured(NamedTuple):
    """The values of a sample of pixels, and the range between their percentiles."""

    values: Values
    low: float
    high: float


def find_range(deep: Deep) -> IntensityRange | None:
    """Return the range of one image, None if no pixel has a measurement."""
    measured = _measure(deep)
    return None if measured is None else _with_margin(measured, deep)


@dataclass(frozen=True)
class RangeState:
    """The range of a stream of images, which stays the same while it fits.

    ``kind`` tells images that cannot share a range apart; ``target`` is the range that ``range``
    moves to; ``outside`` and ``narrow`` count the latest frames that the range did not fit.
    """

    range: IntensityRange | None = None
    kind: tuple[str, int, bool] = ("", 0, False)
    target: IntensityRange | None = None
    outside: int = 0
    narrow: int = 0

    def after(self, deep: Deep) -> RangeState:
        """Return the state after the next image of the stream; its range is for that image.

        A new range changes the brightness of the whole image, so noise, drift within the margin and
        single wrong frames keep the old one. The state depends on the images only, never on time.
        """
        kind = (deep.values.dtype.str, deep.values.ndim, deep.is_light)
        measured = _measure(deep)
        if kind != self.kind or self.range is None:
            return RangeState(_with_margin(measured, deep) if measured else None, kind)
        if measured is None:
            return self
        low, high = self.range
        beyond = (measured.values < low) | (measured.values > high)
        if beyond.mean() > MANY:
            return RangeState(_with_margin(measured, deep), kind)
        is_outside = measured.low < low or measured.high > high
        is_narrow = measured.high - measured.low < NARROW * (high - low)
        outside = self.outside + 1 if is_outside else 0
        narrow = self.narrow + 1 if is_narrow else 0
        target = self.target
        if outside >= OUTSIDE_FRAMES or narrow >= NARROW_FRAMES:
            target, outside, narrow = _with_margin(measured, deep), 0, 0
        if target is None:
            return RangeState(self.range, kind, None, outside, narrow)
        moved = _moved(self.range, target)
        return RangeState(moved, kind, None if moved == target else target, outside, narrow)


def _moved(shown: IntensityRange, target: IntensityRange) -> IntensityRange:
    step = STEP * (shown.high - shown.low)
    low, high = (
        new if abs(new - old) <= step else _rounded(old + math.copysign(step, new - old), step)
        for old, new in zip(shown, target, strict=True)
    )
    return IntensityRange(low, high)


def to_8_bits(deep: Deep, shown: IntensityRange | None) -> BgrImage:
    """Map raw pixels to uint8 of the same shape; without a range every pixel becomes 0."""
    values = deep.values
    grey = np.zeros(values.shape, np.uint8)
    if shown is None:
        return grey
    # Looking 65536 values up is several times faster than calculating each pixel.
    is_looked_up = values.dtype.itemsize == 2 and values.dtype.kind in "iu"
    if is_looked_up:
        every = np.arange(UINT16_MAX + 1, dtype=np.uint16).view(values.dtype.newbyteorder("="))
        table = _map(Deep(every, deep.is_light), shown)
    for rows in blocks(values):
        if is_looked_up:
            grey[rows] = table[np.ascontiguousarray(values[rows], every.dtype).view(np.uint16)]
        else:
            grey[rows] = _map(Deep(values[rows], deep.is_light), shown)
    return grey


def blocks(pixels: Values) -> Iterator[slice]:
    """Yield ranges of rows of some megabytes, for what takes a multiple of the pixels' memory."""
    rows = max(1, BLOCK // max(1, pixels[:1].size))
    for first in range(0, len(pixels), rows):
        yield slice(first, first + rows)


def _map(deep: Deep, shown: IntensityRange) -> BgrImage:
    low, high = shown
    # Half the memory is enough for most floats, but not for a span of nearly nothing.
    is_float32 = deep.values.dtype.kind == "f" and deep.values.dtype.itemsize <= 4
    real = deep.values.astype(np.float32 if is_float32 and high - low > TINY else np.float64)
    is_full = shown == (0, UINT16_MAX)
    darkest = 0.0 if deep.is_light or is_full else 1.0
    usable = np.isfinite(real) & (np.abs(real) < MAX_FLOAT)
    if not (deep.is_light or is_full):
        # Where the range begins at or above 0, there is nothing to measure at 0 and below it.
        usable &= (real > 0) if low >= 0 else (real > _smallest(deep.values.dtype))
    # Values far outside of the range would overflow.
    np.clip(np.where(usable, real, low), low, high, out=real)
    grey = np.rint((real - low) * ((255.0 - darkest) / (high - low)) + darkest)
    grey[~usable] = 0
    return grey.astype(np.uint8)


def _measure(deep: Deep) -> _Measured | None:
    sample = _sample(deep.values)
    values = sample[np.isfinite(sample) & (np.abs(sample) < MAX_FLOAT)]
    values = _without_no_data(values, deep)
    if not values.size:
        return None
    if not deep.is_light:
        values = _within_reach(values)
    low, high = (float(each) for each in np.percentile(values, PERCENTILES))
    return _Measured(values, low, high)


def _within_reach(values: Values) -> Values:
    lower, largest = np.percentile(values, 100 * ENOUGH), values.max()
    if lower <= 0 or largest < ONE_VALUE_BEYOND * lower:
        return values
    others = values[values < largest]
    if (
        ENOUGH <= len(others) / len(values) <= 1 - ONE_VALUE
        and largest >= ONE_VALUE_BEYOND * others.max()
    ):
        return others
    ascending = np.sort(values)
    begin = int(ENOUGH * len(values))
    rises = ascending[begin + 1 :] > BEYOND_REACH * ascending[begin:-1]
    return ascending[: begin + 1 + int(rises.argmax())] if rises.any() else values


def _sample(values: Values) -> Values:
    """Return every n-th row and column, as a list of float64."""
    rows, columns = values.shape[:2]
    step = max(1, math.isqrt(rows * columns // SAMPLE))
    return values[::step, ::step].astype(np.float64).ravel()


def _without_no_data(values: Values, deep: Deep) -> Values:
    if deep.is_light or not values.size:
        return values
    smallest = values.min()
    if smallest in NO_DATA or smallest <= _smallest(deep.values.dtype):
        values = values[values > smallest]
    negative = values < 0
    if values.size and negative.mean() < FEW:
        values = values[~negative]
    if values.size and values.min() >= 0:
        values = values[values > 0]
    return _without_ceiling(values, deep.values.dtype)


def _without_ceiling(values: Values, dtype: np.dtype[Any]) -> Values:
    """Leave the largest value of an integer type out if the others lie far below it."""
    if dtype.kind not in "iu":
        return values
    largest = float(np.iinfo(dtype).max)
    others = values[values < largest]
    if others.size and others.max() < largest / 2 and others.min() < others.max():
        return others
    return values


def _smallest(dtype: np.dtype[Any]) -> float:
    """Return the smallest value of a signed integer type, which stands for "no data"."""
    return float(np.iinfo(dtype).min) if dtype.kind == "i" else -math.inf


def _with_margin(measured: _Measured, deep: Deep) -> IntensityRange:
    low, high = measured.low, measured.high
    is_uint16 = deep.values.dtype.kind == "u" and deep.values.dtype.itemsize == 2
    if is_uint16 and high - low > WIDE * UINT16_MAX:
        return IntensityRange(0.0, float(UINT16_MAX))
    is_never_negative = low >= 0
    if deep.values.ndim == 3 and is_never_negative:
        # A colour keeps its hue and saturation only if black stays black.
        low = 0.0
    span = high - low
    noise = min(MIN_SIGMAS * _noise(deep.values), MAX_WIDENING * span)
    wanted = max(span, noise, MIN_SHARE * max(abs(low), abs(high)))
    if not wanted:
        wanted = 1.0 if deep.values.dtype.kind in "iu" else float(np.finfo(np.float32).tiny)
    middle, half = (low + high) / 2, wanted / 2 + MARGIN * span
    first, last = middle - half, middle + half
    if is_never_negative:
        first = max(first, 0.0)
    first, last = _rounded(first, wanted), _rounded(last, wanted)
    return IntensityRange(first, last if last > first else math.nextafter(first, math.inf))


def _rounded(value: float, span: float) -> float:
    """Round to a ten-thousandth of the span or finer, so that a report shows few digits."""
    return round(value, 4 - math.floor(math.log10(span)))


def _noise(values: Values) -> float:
    """Return the standard deviation of the noise, from the differences of neighbours in a row."""
    step = max(1, len(values) // ROWS_FOR_NOISE)
    grey = values[::step] if values.ndim == 2 else values[::step, :, 1]
    with np.errstate(invalid="ignore", over="ignore"):
        apart = np.abs(np.diff(grey.astype(np.float64), axis=1))
    apart = apart[np.isfinite(apart)]
    return float(np.median(apart)) / NEIGHBOURS if apart.size >= ENOUGH_NEIGHBOURS else 0.0
