"""What changed in a camera's view between two frames, independent of exposure and small shifts.

A frame is kept as a small blurred grey image, the colours of 16x12 tiles and a histogram. Before
two frames are compared, the older one is corrected to the exposure of the newer one (one tone curve
per channel, robust to moving objects) and shifted as a trembling camera shifts it.
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
"""12x16 bool (rows, columns): tiles of a sixteenth of the width and a twelfth of the height."""

ROWS, COLUMNS, SIDE = 12, 16, 10
WIDTH, HEIGHT = COLUMNS * SIDE, ROWS * SIDE
# Sigma in pixels of the small image: textures must still match after a camera trembled.
BLUR = 1.2
# Squared grey levels: several times the variance that sensor noise and JPEG leave after averaging.
NOISE = 25.0
# A tile with a larger variance has a texture to match; the reason `view` counts these tiles.
TEXTURED = 60.0
SAME_TEXTURE = 0.7
# Grey levels by which a tile without texture may differ after exposure correction and noise.
SAME_COLOR = 24.0
# With fewer textured tiles their changed share does not represent the view.
ENOUGH_TEXTURED = 32
# Grey levels that black and white have at most after averaging: beyond them a level was clipped and
# its true value is unknown.
BLACK, WHITE = 12.0, 240.0
# Pixels of the small image, a twentieth of its width: a larger shift is another view.
MAX_SHIFT = 8.0
# If the textured tiles extend over fewer tiles than this, an object may have shifted and not the
# camera; then only a shift of at most MAX_TREMBLE pixels is attributed to the camera.
IN_ONE_PLACE, MAX_TREMBLE = 6, 3.3
# With fewer textured tiles a shift cannot be told from noise.
ENOUGH_TO_MOVE = 4
# Pixels of the small image: after a shift up to this, masks still fit their pixels.
MAX_STILL = 0.5
# Limits of a change of exposure and white balance between keyframes, as slope of a tone curve and
# share of full scale: a covered lens is another view and not a dark exposure.
SLOPES, OFFSET = (0.35, 3.0), 0.45


@dataclass(frozen=True, eq=False)
class FrameThumbnail:
    """What is kept of a frame for comparison: about 100 kB, whatever its size."""

    size: Size
    grey: Floats
    """120x160 grey levels, blurred."""
    tones: Floats
    """4x192: mean blue, green, red and grey level of every tile."""
    histogram: Floats
    """Shares of hues, saturations and brightnesses; sums to 1."""

    @cached_property
    def textured(self) -> Tiles:
        """The tiles with a texture to match; cached, as many frames are compared with this one."""
        textured: Tiles = _Textures(self.grey).variance >= TEXTURED
        return textured

    @classmethod
    def of(cls, image: BgrImage) -> FrameThumbnail:
        """The thumbnail of an HxWx3 uint8 BGR image."""
        height, width = image.shape[:2]
        if width > 4 * WIDTH or height > 4 * HEIGHT:
            # Area filtering of every pixel of a large frame takes longer than all other steps.
            image = _resized(image, (4 * WIDTH, 4 * HEIGHT), cv2.INTER_NEAREST)
        small = _resized(image, (WIDTH, HEIGHT), cv2.INTER_AREA)
        grey = cv2.cvtColor(small, cv2.COLOR_BGR2GRAY)
        blurred = cv2.GaussianBlur(grey.astype(np.float32), (0, 0), BLUR)
        tones = cv2.resize(cv2.merge([small, grey]), (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
        return cls(
            size=Size(width, height),
            grey=blurred.astype(np.float32, copy=False),
            tones=np.ascontiguousarray(tones.reshape(-1, 4).T, np.float32),
            histogram=_histogram(small),
        )


@dataclass(frozen=True, eq=False)
class Change:
    """What changed from one frame to another."""

    tiles: Tiles
    share: float
    """The changed share of the textured tiles, or of all tiles if few have texture; 0..1."""
    colors: float
    """The Hellinger distance of the histograms, 0..1."""


def _resized(image: BgrImage, size: tuple[int, int], interpolation: int) -> BgrImage:
    return cv2.resize(image, size, interpolation=interpolation).astype(np.uint8, copy=False)


def _histogram(small: BgrImage) -> Floats:
    hue, saturation, value = cv2.split(cv2.cvtColor(small, cv2.COLOR_BGR2HSV))
    # The hue of grey and black pixels is noise.
    hue_bin = np.where((saturation < 48) | (value < 32), 0, 1 + hue // 15)
    counts = np.bincount((hue_bin * 4 + value // 64).ravel(), minlength=13 * 4)
    return (counts / counts.sum()).astype(np.float32)


def compare(before: FrameThumbnail, now: FrameThumbnail) -> Change:
    """What changed, apart from exposure, white balance and a small shift."""
    curves = _tone_curves(before.tones, now.tones)
    recolored = _recolored(before.tones, now.tones, curves)
    known = np.ones((ROWS, COLUMNS), np.bool_)
    best = _compare_at(before.grey, now.grey, known, curves, recolored)
    if best[0].any():
        shifted = _shifted(before, now)
        if shifted is not None:
            other = _compare_at(shifted[0], now.grey, shifted[1], curves, recolored)
            if other[0].sum() < best[0].sum():
                best = other
    tiles, share = best
    overlap = float(np.sqrt(before.histogram * now.histogram).sum())
    return Change(tiles=tiles, share=share, colors=max(0.0, 1.0 - overlap) ** 0.5)


def moved(before: FrameThumbnail, now: FrameThumbnail) -> bool:
    """Whether the texture shows that the view has left its pixels."""
    if np.count_nonzero(before.textured) < ENOUGH_TO_MOVE:
        return False
    x, y = _shift(before.grey, now.grey)
    return max(abs(x), abs(y)) > MAX_STILL


def _compare_at(
    before: Floats, now: Floats, known: Tiles, curves: Floats, recolored: Tiles
) -> tuple[Tiles, float]:
    """The changed tiles among the known ones, and the changed share of the view."""
    old, new = _Textures(before), _Textures(now)
    correlation = old.correlation(new)
    if (correlation < SAME_TEXTURE).any():
        # Clipping may have removed textures. The first result still counts, because no tone curve
        # fits a pixel of the small image that mixes clipped and unclipped pixels.
        expected = _expose(before, curves[3])
        old, new = _Textures(expected), _Textures(expected + _misfit(before, now, expected))
        correlation = np.maximum(correlation, old.correlation(new))
    flat = (old.variance < TEXTURED) & (new.variance < TEXTURED)
    changed: Tiles = known & ((correlation < SAME_TEXTURE) | (flat & recolored))
    textured = known & (old.variance >= TEXTURED)
    share = float(changed[known].mean()) if known.any() else 1.0
    if textured.sum() >= ENOUGH_TEXTURED:
        share = max(share, float(changed[textured].mean()))
    return changed, share


class _Textures:
    """The mean and the variance of every tile of a grey image."""

    def __init__(self, grey: Floats) -> None:
        # Centred at mid grey: float32 squares would lose the small variance of a bright tile.
        self._grey = grey - np.float32(128)
        self._mean = _tile_means(self._grey)
        squares = _tile_means(self._grey * self._grey)
        self.variance = np.maximum(squares - self._mean * self._mean, np.float32(0))

    def correlation(self, other: _Textures) -> Floats:
        """Zero-mean normalised cross-correlation; NOISE makes it 1 where neither has texture."""
        covariance = _tile_means(self._grey * other._grey) - self._mean * other._mean
        scale = np.sqrt((self.variance + NOISE) * (other.variance + NOISE))
        correlation: Floats = (covariance + NOISE) / scale
        return correlation


def _tile_means(grey: Floats) -> Floats:
    means = cv2.resize(grey, (COLUMNS, ROWS), interpolation=cv2.INTER_AREA)
    return means.astype(np.float32, copy=False)


def _shift(before: Floats, now: Floats) -> tuple[float, float]:
    window = cv2.createHanningWindow((WIDTH, HEIGHT), cv2.CV_32F)
    (x, y), _ = cv2.phaseCorrelate(before - before.mean(), now - now.mean(), window)
    return x, y


def _shifted(before: FrameThumbnail, now: FrameThumbnail) -> tuple[Floats, Tiles] | None:
    """``before.grey`` shifted to match ``now``, and the tiles that it still fills.

    None if the shift is too small to matter or too large for a trembling camera.
    """
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
    """4x3 coefficients of 1, x and x^2 (x in 0..1) that map the old tones to the new ones.

    Iteratively reweighted least squares with a shrinking scale of the weights, so that nearly half
    of the view may show something else. A regularisation keeps a curve near the identity if the
    tones are too similar to determine it.
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
    """``now`` minus ``expected``, or 0 where clipping in either frame explains the difference."""
    misfit = now - expected
    up, down = (before < BLACK) | (now > WHITE), (before > WHITE) | (now < BLACK)
    explained = (up & (misfit < 0)) | (down & (misfit > 0))
    return np.where(explained, np.float32(0), misfit)


def _expose(levels: Floats, curve: Floats) -> Floats:
    x = levels / np.float32(255.0)
    return np.clip(255.0 * (curve[0] + x * (curve[1] + x * curve[2])), 0.0, 255.0)


def _recolored(before: Floats, now: Floats, curves: Floats) -> Tiles:
    """The tiles whose mean colour differs from the expected one."""
    expected = np.stack([_expose(*pair) for pair in zip(before[:3], curves[:3], strict=True)])
    misfit = np.abs(_misfit(before[:3], now[:3], expected)).max(axis=0)
    recolored: Tiles = (misfit > SAME_COLOR).reshape(ROWS, COLUMNS)
    return recolored
