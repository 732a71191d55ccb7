"""What of a camera's view changed between two frames, whatever its exposure did meanwhile.

A frame is kept as a small blurred grey picture, the colours of 16x12 tiles and a histogram. Before
two are compared, the older is given the newer one's exposure (a tone curve a channel, robust to
what moved) and the shift of a camera that trembles.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage
from deep_perception.masks import Size

Floats = NDArray[np.float32]
Tiles = NDArray[np.bool_]
"""12x16 bool: rows, columns of tiles, each a sixteenth and a twelfth of the picture."""

ROWS, COLUMNS, SIDE = 12, 16, 10
WIDTH, HEIGHT = COLUMNS * SIDE, ROWS * SIDE
# Of the small picture, in its pixels: what trembling moves textures by must not unmatch them.
BLUR = 1.2
# Grey levels, squared: what sensor noise and JPEG leave after the averaging, several times over.
NOISE = 25.0
# A tile whose variance is more has a texture to match; `view` is counted over these.
TEXTURED = 60.0
SAME_TEXTURE = 0.7
# Grey levels that a tile without texture may differ by, after exposure and noise.
SAME_COLOUR = 24.0
# Fewer textured tiles are no measure of the whole view.
ENOUGH_TEXTURED = 32
# About the levels that black and white leave after averaging: what was cut off there is unknown.
BLACK, WHITE = 12.0, 240.0
# Pixels of the small picture, a twentieth of its width: a shift beyond is another view.
MAX_SHIFT = 8.0
# Where the texture is in one place only, it is a thing that shifts and not the camera, unless that
# is no more than trembling; tiles, of the width or the height.
IN_ONE_PLACE, MAX_TREMBLE = 6, 3.3
# Fewer textured tiles cannot tell a shift from noise.
ENOUGH_TO_MOVE = 4
# Of a shift up to this, masks are still in their place.
STAYS = 0.5
# Exposure and white balance change no more than this between keyframes, as slope of a tone curve
# and part of full scale: a covered lens is another view, not a dark exposure.
SLOPES, OFFSET = (0.35, 3.0), 0.45


@dataclass(frozen=True, eq=False)
class View:
    """A frame made small: about 100 kB, whatever its size."""

    size: Size
    grey: Floats
    """120x160 grey levels, blurred."""
    tones: Floats
    """4x192: mean blue, green, red and grey level of every tile."""
    histogram: Floats
    """Shares of hues, saturations and brightnesses; sums to 1."""

    @cached_property
    def textured(self) -> Tiles:
        """The tiles with a texture to match; kept, for many frames are compared with one view."""
        textured: Tiles = _Textures(self.grey).variance >= TEXTURED
        return textured


@dataclass(frozen=True, eq=False)
class Change:
    """From one view to the next: which tiles, what share of the view, and how far in colours."""

    tiles: Tiles
    share: float
    """Of the textured tiles (all, where few have texture), 0..1."""
    colours: float
    """Hellinger distance of the histograms, 0..1."""


def look(image: BgrImage) -> View:
    """The view of an HxWx3 uint8 BGR picture."""
    height, width = image.shape[:2]
    if width > 4 * WIDTH or height > 4 * HEIGHT:
        # Area filtering of every pixel of a large frame costs more than all the rest together.
        image = cv2.resize(image, (4 * WIDTH, 4 * HEIGHT), interpolation=cv2.INTER_NEAREST).astype(
            np.uint8, copy=False
        )
    small = cv2.resize(image, (WIDTH, HEIGHT), interpolation=cv2.INTER_AREA).astype(
        np.uint8, copy=False
    )
    grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
    tones = cv2.resize(cv2.merge([small, grey]), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return View(
        size=Size(width, height),
        grey=cv2.GaussianBlur(grey.astype(np.float32), (0, 0), BLUR).astype(np.float32, copy=False),
        tones=np.ascontiguousarray(tones.reshape(-1, 4).T, np.float32),
        histogram=_histogram(small),
    )


def _histogram(small: BgrImage) -> Floats:
    hue, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2HSV))
    # Grey and black pixels have no hue worth the name.
    hue_bin = np.where((saturation < 48) | (value < 32), 0, 1 + hue // 15)
    counts = np.bincount((hue_bin * 4 + value // 64).ravel(), minlength=13 * 4)
    return (counts / counts.sum()).astype(np.float32)


def compare(before: View, now: View) -> Change:
    """What changed, exposure, white balance and a small shift aside."""
    curves = _tone_curves(before.tones, now.tones)
    flat_change = _recoloured(before.tones, now.tones, curves)
    known = np.ones((ROWS, COLUMNS), np.bool_)
    best = _compare_at(before.grey, now.grey, known, curves, flat_change)
    if best[0].any():
        shifted = _shifted(before, now)
        if shifted is not None:
            other = _compare_at(shifted[0], now.grey, shifted[1], curves, flat_change)
            if other[0].sum() < best[0].sum():
                best = other
    tiles, share = best
    overlap = float(np.sqrt(before.histogram * now.histogram).sum())
    return Change(tiles=tiles, share=share, colours=max(0.0, 1.0 - overlap) ** 0.5)


def moved(before: View, now: View) -> bool:
    """Whether the view is no longer in the same pixels, as far as its texture can tell."""
    if np.count_nonzero(before.textured) < ENOUGH_TO_MOVE:
        return False
    x, y = _shift(before.grey, now.grey)
    return max(abs(x), abs(y)) > STAYS


def _compare_at(
    before: Floats, now: Floats, known: Tiles, curves: Floats, recoloured: Tiles
) -> tuple[Tiles, float]:
    ours, theirs = _Textures(before), _Textures(now)
    likeness = ours.likeness(theirs)
    if (likeness < SAME_TEXTURE).any():
        # White or black may have cut textures off. (Not instead: where a pixel of the small
        # picture mixes what is cut off with what is not, no curve holds.)
        expected = _expose(before, curves[3])
        ours, theirs = _Textures(expected), _Textures(expected + _misfit(before, now, expected))
        likeness = np.maximum(likeness, ours.likeness(theirs))
    flat = (ours.variance < TEXTURED) & (theirs.variance < TEXTURED)
    changed: Tiles = known & ((likeness < SAME_TEXTURE) | (flat & recoloured))
    textured = known & (ours.variance >= TEXTURED)
    share = float(changed[known].mean()) if known.any() else 1.0
    if textured.sum() >= ENOUGH_TEXTURED:
        share = max(share, float(changed[textured].mean()))
    return changed, share


class _Textures:
    """A grey picture's tiles: means, and how much there is to match."""

    def __init__(self, grey: Floats) -> None:
        # About mid grey: the squares of float32 levels would lose the variance of a bright tile.
        self._grey = grey - np.float32(128)
        self._mean = _tile_means(self._grey)
        squares = _tile_means(self._grey * self._grey)
        self.variance = np.maximum(squares - self._mean * self._mean, np.float32(0))

    def likeness(self, other: _Textures) -> Floats:
        """Zero-mean normalised cross-correlation; NOISE makes it 1 where neither has texture."""
        covariance = _tile_means(self._grey * other._grey) - self._mean * other._mean
        scale = np.sqrt((self.variance + NOISE) * (other.variance + NOISE))
        likeness: Floats = (covariance + NOISE) / scale
        return likeness


def _tile_means(grey: Floats) -> Floats:
    means = cv2.resize(grey, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return means.astype(np.float32, copy=False)


def _shift(before: Floats, now: Floats) -> tuple[float, float]:
    window = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(before - before.mean(), now - now.mean(), window)
    return x, y


def _shifted(before: View, now: View) -> tuple[Floats, Tiles] | None:
    """``before.grey`` moved to where ``now`` has it, and the tiles that it still fills."""
    x, y = _shift(before.grey, now.grey)
    rows, columns = np.nonzero(before.textured)
    in_one_place = rows.size == 0 or max(np.ptp(rows), np.ptp(columns)) < IN_ONE_PLACE
    most = MAX_TREMBLE if in_one_place else MAX_SHIFT
    if max(abs(x), abs(y)) > most or max(abs(x), abs(y)) < 0.2:
        return None
    move = np.array([[1, 0, x], [0, 1, y]], np.float32)
    moved = cv2.warpAffine(before.grey, move, (WIDTH, HEIGHT), borderMode=cv2.BORDER_REPLICATE)
    known = np.ones((ROWS, COLUMNS), np.bool_)
    for axis, shift in ((1, x), (0, y)):
        if abs(shift) > 1:
            edge = 0 if shift > 0 else -1
            known[(slice(None), edge) if axis else (edge, slice(None))] = False
    return moved.astype(np.float32, copy=False), known


def _tone_curves(before: Floats, now: Floats) -> Floats:
    """4x3 coefficients of 1, x and x^2 (x in 0..1) that turn the old tones into the new ones.

    Iterated least squares with the weight of what does not fit falling step by step, so that up to
    nearly half of the view may be something else. Held near "nothing changed" where the tones are
    too alike to say more.
    """
    x = before / 255.0
    basis = np.stack([np.ones_like(x), x, x * x], axis=2)
    identity = np.array([0.0, 1.0, 0.0])
    pull = np.array([1e-3, 0.05, 0.5])
    curves = np.tile(identity, (4, 1))
    for scale in (128.0, 64.0, 32.0, 16.0, 8.0):
        expected = 255.0 * (basis @ curves[..., None])[..., 0]
        misfit = _misfit(before, now, expected)
        weight = (misfit != 0) / (1.0 + (misfit / scale) ** 2) ** 2
        target = (expected + misfit) / 255.0
        weighted = (weight[..., None] * basis).swapaxes(1, 2)
        normal = weighted @ basis + np.diag(pull)
        right = weighted @ target[..., None] + (pull * identity)[:, None]
        curves = np.linalg.solve(normal, right)[..., 0]
        dark, bright = np.clip([curves[:, 1], curves[:, 1] + 2 * curves[:, 2]], *SLOPES)
        curves[:, 1], curves[:, 2] = dark, (bright - dark) / 2
        rest = target - x * (curves[:, 1:2] + x * curves[:, 2:])
        offset = (weight * rest).sum(axis=1) / (weight.sum(axis=1) + pull[0])
        curves[:, 0] = np.clip(offset, -OFFSET, OFFSET)
    return curves.astype(np.float32)


def _misfit(before: Floats, now: Floats, expected: Floats) -> Floats:
    """``now`` less ``expected``, or 0 where white or black, cut off on either side, explains it."""
    misfit = now - expected
    up, down = (before < BLACK) | (now > WHITE), (before > WHITE) | (now < BLACK)
    explained = (up & (misfit < 0)) | (down & (misfit > 0))
    return np.where(explained, np.float32(0), misfit)


def _expose(levels: Floats, curve: Floats) -> Floats:
    x = levels / np.float32(255.0)
    return np.clip(255.0 * (curve[0] + x * (curve[1] + x * curve[2])), 0.0, 255.0)


def _recoloured(before: Floats, now: Floats, curves: Floats) -> Tiles:
    expected = np.stack([_expose(*pair) for pair in zip(before[:3], curves[:3], strict=True)])
    misfit = np.abs(_misfit(before[:3], now[:3], expected)).max(axis=0)
    recoloured: Tiles = (misfit > SAME_COLOUR).reshape(ROWS, COLUMNS)
    return recoloured
