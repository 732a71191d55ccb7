"""Camera sequences with known regions: photographs, objects that move over them, and noise.

The world is a photograph, partitioned into the regions of the embedded segmenter, with objects on
it whose texture is from other photographs. The camera is a homography per frame. An imperfect
segmenter is imitated in every frame by bending the true outlines and by merging, splitting and
missing regions.
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
# The labels of objects are smaller; those of the photograph's regions start here.
FIRST_PHOTOGRAPH_LABEL = 100


@dataclass(frozen=True)
class SceneObject:
    """An ellipse or a box in the world.

    ``position(frame)`` is its centre in world pixels, or None if it is absent.
    """

    label: int
    width: int
    height: int
    photograph: int
    position: Callable[[int], tuple[float, float] | None]
    round: bool = True
    texture_seed: int | None = None


@dataclass(frozen=True, kw_only=True)
class Noise:
    """The errors of the imitated segmenter: outline shift in pixels, and shares of the regions."""

    bend_px: float = 3.0
    merged: float = 0.03
    split: float = 0.03
    missed: float = 0.03


@dataclass(frozen=True, kw_only=True)
class Script:
    """What happens in a sequence.

    ``camera(frame)`` maps world pixels to image pixels. Without ``segment`` there are no regions.
    """

    frames: int = 20
    photograph: int = 0
    objects: Sequence[SceneObject] = ()
    camera: Callable[[int], Matrix] = field(default=lambda frame: looking_at())
    exposure: Callable[[int], tuple[float, float]] = lambda frame: (1.0, 0.0)
    noise: Noise = Noise()
    interval_s: float = 1.0
    seed: int = 0
    segment: bool = True


@dataclass(frozen=True, eq=False)
class Frame:
    """An image, its stamp, the true label of every pixel, and the regions that were found."""

    image: BgrImage
    stamp_ns: int
    truth: Labels
    regions: list[Region]


def looking_at(x: float = 640, y: float = 480, zoom: float = 0.8, turn: float = 0.0) -> Matrix:
    """A camera with a world pixel in its centre; ``turn`` is in radians."""
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    to_centre = np.array([[1, 0, SIZE.width / 2], [0, 1, SIZE.height / 2], [0, 0, 1.0]])
    spin = np.array([[cos, -sin, 0], [sin, cos, 0], [0, 0, 1.0]])
    from_world = np.array([[1, 0, -x], [0, 1, -y], [0, 0, 1.0]])
    matrix: Matrix = to_centre @ spin @ from_world
    return matrix


def shaken(camera: Matrix, amount: float, rng: np.random.Generator) -> Matrix:
    """A hand-held camera, which turns, tilts and moves a little."""
    centre = np.array([[1, 0, SIZE.width / 2], [0, 1, SIZE.height / 2], [0, 0, 1.0]])
    turn, zoom = rng.normal(0, 0.03) * amount, np.exp(rng.normal(0, 0.04) * amount)
    cos, sin = zoom * np.cos(turn), zoom * np.sin(turn)
    x, y = rng.normal(0, 30, 2) * amount
    tilt = rng.normal(0, 6e-5, 2) * amount
    shake = np.array([[cos, -sin, x], [sin, cos, y], [*tilt, 1]])
    matrix: Matrix = centre @ shake @ np.linalg.inv(centre) @ camera
    return matrix


def frames(script: Script) -> Iterator[Frame]:
    """The sequence, frame by frame."""
    world, labels = _world(script.photograph)
    rng = np.random.default_rng(script.seed)
    for number in range(script.frames):
        image, truth = world.copy(), labels.copy()
        for scene_object in script.objects:
            _paint(image, truth, scene_object, number)
        camera = script.camera(number)
        image = cv2.warpPerspective(image, camera, SIZE).astype(np.uint8)
        truth = cv2.warpPerspective(
            truth.astype(np.float32), camera, SIZE, flags=cv2.INTER_NEAREST, borderValue=-1
        ).astype(np.int32)
        gain, offset = script.exposure(number)
        noisy = image * gain + offset + rng.normal(0, 2, image.shape)
        image = np.clip(np.rint(noisy), 0, 255).astype(np.uint8)
        found = found_regions(truth, script.noise, rng) if script.segment else []
        yield Frame(image, round((1 + number * script.interval_s) * NANOSECONDS), truth, found)


@functools.lru_cache(maxsize=4)
def _world(number: int) -> tuple[BgrImage, Labels]:
    world = photograph(*WORLD, number)
    return world, photograph_labels(world)


def photograph_labels(world: BgrImage) -> Labels:
    """The regions that the embedded segmenter finds in an image; -1 where there is none."""
    labels = np.full(world.shape[:2], -1, np.int32)
    for number, region in enumerate(segmented(world)):
        labels[region.mask & (labels < 0)] = FIRST_PHOTOGRAPH_LABEL + number
    return labels


def segmented(image: BgrImage) -> list[Region]:
    """The regions that a sweep with the embedded segmenter finds in an image."""
    segmenter = Superpixels()
    height, width = image.shape[:2]
    sweep = Sweep(
        segmenter=segmenter,
        embedding=segmenter.embed(image),
        points=propose(image, PointSettings()),
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
    """The regions that an imperfect segmenter would find, given the true labels."""
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


def _paint(image: BgrImage, truth: Labels, painted: SceneObject, number: int) -> None:
    position = painted.position(number)
    if position is None:
        return
    shape = np.zeros(truth.shape, np.uint8)
    x, y = round(position[0]), round(position[1])
    half = painted.width // 2, painted.height // 2
    if painted.round:
        cv2.ellipse(shape, (x, y), half, 0, 0, 360, 1, cv2.FILLED)
    else:
        cv2.rectangle(shape, (x - half[0], y - half[1]), (x + half[0], y + half[1]), 1, cv2.FILLED)
    seed = painted.label if painted.texture_seed is None else painted.texture_seed
    texture = _texture(painted.photograph, seed, painted.width + 2, painted.height + 2)
    # Searching only the object's window is much faster than searching the world.
    top, left = max(0, y - half[1] - 1), max(0, x - half[0] - 1)
    rows, columns = np.nonzero(shape[top : y + half[1] + 2, left : x + half[0] + 2])
    rows, columns = rows + top, columns + left
    image[rows, columns] = texture[rows - (y - half[1]), columns - (x - half[0])]
    truth[rows, columns] = painted.label


@functools.lru_cache(maxsize=64)
def _texture(number: int, seed: int, width: int, height: int) -> BgrImage:
    rng = np.random.default_rng(seed)
    source = photograph(640, 480, number)
    x, y = rng.integers(0, 640 - width), rng.integers(0, 480 - height)
    # Each object has its own tint, so that it can be told from its background.
    tint = rng.uniform(0.35, 1.6, 3)
    cut = source[y : y + height, x : x + width] * tint + rng.uniform(-20, 40, 3)
    return np.clip(cut, 0, 255).astype(np.uint8)
