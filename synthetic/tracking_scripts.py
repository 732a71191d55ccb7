"""The sequences on which tracking is measured and tested."""

from __future__ import annotations

import functools
from collections.abc import Callable

import numpy as np

from synthetic.moving_scenes import SceneObject, Script, looking_at, shaken


def still(photograph: int = 0, frames: int = 20) -> Script:
    """Nothing moves; only the segmenter varies."""
    return Script(photograph=photograph, frames=frames, objects=resting_objects())


def exposure(photograph: int = 0) -> Script:
    """Nothing moves; the exposure jumps by up to 30 % and some offset."""
    rng = np.random.default_rng(1)
    levels = [(float(rng.uniform(0.7, 1.3)), float(rng.uniform(-12, 12))) for _ in range(20)]
    return Script(
        photograph=photograph, objects=resting_objects(), exposure=lambda frame: levels[frame]
    )


def pan(photograph: int = 0) -> Script:
    """The camera turns there and back by up to 50 pixels per keyframe."""
    return Script(
        photograph=photograph,
        objects=resting_objects(),
        camera=lambda frame: looking_at(640 + 240 * float(np.sin(frame / 4)), 480),
    )


def zoom(photograph: int = 0) -> Script:
    """The camera moves forward, by 4 % per keyframe."""
    return Script(
        photograph=photograph,
        objects=resting_objects(),
        camera=lambda frame: looking_at(zoom=0.7 * 1.04**frame),
    )


def shake(photograph: int = 0) -> Script:
    """The camera is held in a hand."""
    cameras = [
        shaken(looking_at(), 1.0, np.random.default_rng(1000 + frame)) for frame in range(20)
    ]
    return Script(
        photograph=photograph, objects=resting_objects(), camera=lambda frame: cameras[frame]
    )


def crossing(photograph: int = 0) -> Script:
    """A large object crosses the view and hides the others one after the other."""
    walker = SceneObject(50, 180, 400, 3, lambda frame: (150 + 55 * frame, 520), round=False)
    return Script(photograph=photograph, objects=(*resting_objects(), walker))


def walkers(photograph: int = 0, frames: int = 40) -> Script:
    """Objects of the size of people cross a static view, one or two at a time."""
    people = tuple(
        SceneObject(
            50 + number,
            80,
            220,
            1 + number % 3,
            functools.partial(
                _drive, 10 * number, 65 if number % 2 else -65, 420 + 90 * (number % 3)
            ),
        )
        for number in range(frames // 10)
    )
    return Script(photograph=photograph, objects=(*resting_objects(), *people), frames=frames)


def traffic(photograph: int = 0) -> Script:
    """Objects enter, cross and leave, and others enter after them at the same position."""
    return Script(photograph=photograph, objects=(*resting_objects()[:2], *_movers()), frames=24)


def twins(photograph: int = 0) -> Script:
    """Two equal objects lie side by side before a hand-held camera; the left one leaves later."""
    pair = (
        SceneObject(
            1, 90, 120, 2, lambda frame: (560, 480) if frame < 12 else None, texture_seed=7
        ),
        SceneObject(2, 90, 120, 2, lambda frame: (665, 480), texture_seed=7),
    )
    cameras = [
        shaken(looking_at(), 0.6, np.random.default_rng(2000 + frame)) for frame in range(20)
    ]
    return Script(photograph=photograph, objects=pair, camera=lambda frame: cameras[frame])


ALL: dict[str, Callable[[int], Script]] = {
    "still": still,
    "exposure": exposure,
    "pan": pan,
    "zoom": zoom,
    "shake": shake,
    "crossing": crossing,
    "traffic": traffic,
    "twins": twins,
}


def resting_objects() -> tuple[SceneObject, ...]:
    """Six objects at rest with different textures."""
    positions = [(420, 330), (560, 610), (700, 350), (820, 560), (880, 380), (640, 480)]
    return tuple(
        SceneObject(
            label,
            70 + 8 * label,
            60 + 6 * label,
            1 + label % 3,
            functools.partial(_stay, position),
            round=bool(label % 2),
        )
        for label, position in enumerate(positions, start=1)
    )


def _movers() -> tuple[SceneObject, ...]:
    """Objects that cross the view in ten keyframes and enter where an earlier one has left."""
    movers = []
    for number in range(5):
        row = 280 + 130 * (number % 3)
        speed = 75 if number % 2 else -75
        start = 4 * number
        movers.append(
            SceneObject(
                20 + number,
                80 + 10 * number,
                110,
                1 + number % 3,
                functools.partial(_drive, start, speed, row),
                round=number % 2 == 0,
            )
        )
    return tuple(movers)


def _stay(position: tuple[float, float], frame: int) -> tuple[float, float]:
    return position


def _drive(start: int, speed: int, row: int, frame: int) -> tuple[float, float] | None:
    step = frame - start
    if not 0 <= step <= 12:
        return None
    return (640 - np.sign(speed) * 440 + speed * step, row)
