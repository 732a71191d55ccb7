"""Camera sequences of which every region is known: photographs, things that move over them, noise.

The world is a photograph cut into the embedded segmenter's regions, with things on it whose texture
is from other photographs. The camera is a homography a frame. A segmenter is imitated by bending
the true outlines, and by merging, splitting and missing regions, anew in every frame.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import cv2
import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage
from deep_perception.masks import Mask, Size
from deep_perception.points import Point, propose
from deep_perception.regions import Region
from deep_perception.segmenters.superpixels import Superpixels
from deep_perception.settings import PointSettings, SweepSettings
from deep_perception.stamps import NANOSECONDS
from deep_perception.sweep import Sweep
from synthetic.photographs import photograph

Matrix = NDArray[np.float64]
Labels = NDArray[np.int32]

SIZE = Size(640, 480)
WORLD = Size(1280, 960)
MIN_AREA = SweepSettings().min_mask_area
# Labels of the things; those of the photograph's regions start after them.
FIRST_PHOTOGRAPH_LABEL = 100


@dataclass(frozen=True)
class Thing:
    """An ellipse or a box of the world, ``place(frame)`` its centre or None when it is away."""

    label: int
    width: int
    height: int
    photograph: int
    place: Callable[[int], tuple[float, float] | None]
    round: bool = True
    texture_seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Noise:
    """Of the imitated segmenter: outline shift in pixels, and shares of the regions."""

    bend_px: float = 3.0
    merged: float = 0.03
    split: float = 0.03
    missed: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Script:
    """What happens in a sequence.

    ``camera(frame)`` takes world pixels to picture pixels; without ``find`` no regions are made.
    """

    frames: int = 20
    photograph: int = 0
    things: Sequence[Thing] = ()
    camera: Callable[[int], Matrix] = field(default=lambda frame: looking_at())
    exposure: Callable[[int], tuple[float, float]] = lambda frame: (1.0, 0.0)
    noise: Noise = Noise()
    interval_s: float = 1.0
    seed: int = 0
    find: bool = True


@dataclass(frozen=True, eq=False)
class Frame:
    """A picture, its stamp, the true label of every pixel, and the regions that were found."""

    picture: BgrImage
    stamp_ns: int
    truth: Labels
    regions: list[Region]


def looking_at(x: float = 640, y: float = 480, zoom: float = 0.8, turn: float = 0.0) -> Matrix:
    """A camera whose centre sees a world pixel; ``turn`` in radians."""
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    to_centre = np.array([[1, 0, SIZE.width / 2], [0, 1, SIZE.height / 2], [0, 0, 1.0]])
    spin = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    from_world = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    shot: Matrix = to_centre @ spin @ from_world
    return shot


def shaken(camera: Matrix, amount: float, rng: np.random.Generator) -> Matrix:
    """A hand-held camera: it turns, tilts and steps a little."""
    centre = np.array([[1, 0, SIZE.width / 2], [0, 1, SIZE.height / 2], [0, 0, 1.0]])
    turn, zoom = rng.normal(0, 0.03) * amount, np.exp(rng.normal(0, 0.04) * amount)
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    x, y = rng.normal(0, 30, 2) * amount
    tilt = rng.normal(0, 6e-5, 2) * amount
    shake = np.array([[cos, -sin, x], [sin, cos, y], [*tilt, 1]])
    shot: Matrix = centre @ shake @ np.linalg.inv(centre) @ camera
    return shot


def frames(script: Script) -> Iterator[Frame]:
    """The sequence, frame by frame."""
    world, labels = _world(script.photograph)
    rng = np.random.default_rng(script.seed)
    for number in range(script.frames):
        picture, truth = world.copy(), labels.copy()
        for thing in script.things:
            _paint(picture, truth, thing, number)
        camera = script.camera(number)
        picture = cv2.warpPerspective(picture, camera, SIZE).astype(np.uint8)
        truth = cv2.warpPerspective(
            truth.astype(np.float32), camera, SIZE, flags=cv2.INTER_NEAREST, borderValue=-1
        ).astype(np.int32)
        gain, offset = script.exposure(number)
        shot = picture * gain + offset + rng.normal(0, 2, picture.shape)
        picture = np.clip(np.rint(shot), 0, 255).astype(np.uint8)
        found = found_regions(truth, script.noise, rng) if script.find else []
        yield Frame(picture, round((1 + number * script.interval_s) * NANOSECONDS), truth, found)


@functools.lru_cache(maxsize=4)
def _world(number: int) -> tuple[BgrImage, Labels]:
    world = photograph(*WORLD, number)
    return world, photograph_labels(world)


def photograph_labels(world: BgrImage) -> Labels:
    """The embedded segmenter's regions of a picture, -1 where there is none."""
    labels = np.full(world.shape[:2], -1, np.int32)
    for number, region in enumerate(swept(world)):
        labels[region.mask & (labels < 0)] = FIRST_PHOTOGRAPH_LABEL + number
    return labels


def swept(picture: BgrImage) -> list[Region]:
    """The regions that the embedded segmenter really finds."""
    segmenter = Superpixels()
    height, width = picture.shape[:2]
    sweep = Sweep(
        segmenter=segmenter,
        embedding=segmenter.embed(picture),
        points=propose(picture, PointSettings()),
        size=Size(width, height),
        settings=SweepSettings(),
    )
    return as_regions([claim.mask for claim in sweep])


def as_regions(masks: Sequence[Mask]) -> list[Region]:
    """Regions of masks at working size."""
    regions = []
    for index, mask in enumerate(masks, start=1):
        height, width = mask.shape
        y, x = np.unravel_index(int(mask.argmax()), mask.shape)
        point = Point(int(x), int(y), "grid")
        regions.append(
            Region.from_mask(
                index=index, point=point, mask=mask, score=0.9, source=Size(width, height)
            )
        )
    return regions


def found_regions(truth: Labels, noise: Noise, rng: np.random.Generator) -> list[Region]:
    """What an imperfect segmenter finds of the truth."""
    bent = _bend(truth, noise.bend_px, rng)
    names = [int(name) for name in np.unique(bent) if name >= 0]
    kernel = np.ones((5, 5), np.uint8)
    for name in names:
        mask = bent == name
        if rng.random() < noise.merged:
            rim = (cv2.dilate(mask.astype(np.uint8), kernel) > 0) & ~mask & (bent >= 0)
            if rim.any():
                bent[mask] = np.bincount(bent[rim]).argmax()
        elif rng.random() < noise.split:
            rows, columns = np.nonzero(mask)
            angle = rng.uniform(0, np.pi)
            side = np.cos(angle) * columns + np.sin(angle) * rows
            half = side > np.quantile(side, rng.uniform(0.3, 0.7))
            bent[rows[half], columns[half]] = bent.max() + 1
        elif rng.random() < noise.missed:
            bent[mask] = -1
    found = [bent == name for name in np.unique(bent) if name >= 0]
    found = [mask for mask in found if mask.sum() >= MIN_AREA]
    return as_regions([found[index] for index in rng.permutation(len(found))])


def _bend(truth: Labels, bend_px: float, rng: np.random.Generator) -> Labels:
    height, width = truth.shape
    y, x = np.mgrid[:height, :width].astype(np.float32)
    shift = rng.normal(0, bend_px, (2, height // 30, width // 30)).astype(np.float32)
    dx, dy = (cv2.resize(part, (width, height), interpolation=cv2.INTER_CUBIC) for part in shift)
    bent = cv2.remap(truth.astype(np.float32), x + dx, y + dy, cv2.INTER_NEAREST, borderValue=-1)
    return bent.astype(np.int32)


def _paint(picture: BgrImage, truth: Labels, thing: Thing, number: int) -> None:
    place = thing.place(number)
    if place is None:
        return
    shape = np.zeros(truth.shape, np.uint8)
    x, y = round(place[0]), round(place[1])
    half = thing.width // 2, thing.height // 2
    if thing.round:
        cv2.ellipse(shape, (x, y), half, 0, 0, 360, 1, cv2.FILLED)
    else:
        cv2.rectangle(shape, (x - half[0], y - half[1]), (x + half[0], y + half[1]), 1, cv2.FILLED)
    seed = thing.label if thing.texture_seed is None else thing.texture_seed
    texture = _texture(thing.photograph, seed, thing.width + 2, thing.height + 2)
    rows, columns = np.nonzero(shape)
    picture[rows, columns] = texture[rows - (y - half[1]), columns - (x - half[0])]
    truth[rows, columns] = thing.label


@functools.lru_cache(maxsize=64)
def _texture(number: int, seed: int, width: int, height: int) -> BgrImage:
    rng = np.random.default_rng(seed)
    source = photograph(640, 480, number)
    x, y = rng.integers(0, 640 - width), rng.integers(0, 480 - height)
    # A tint of its own, so that things are told from what they lie on.
    tint = rng.uniform(0.35, 1.6, 3)
    cut = source[y : y + height, x : x + width] * tint + rng.uniform(-20, 40, 3)
    return np.clip(cut, 0, 255).astype(np.uint8)
