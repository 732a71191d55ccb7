"""Photographs as views of a camera, with changes of light, a person, and the decisions on them."""

import math
from pathlib import Path

import cv2
import numpy as np

from deep_perception import images
from deep_perception.keyframes import Keyframes
from deep_perception.settings import KeyframeSettings

NAMES = ("astronaut", "chelsea", "coffee", "rocket")
LARGE = {
    name: cv2.resize(images.load(Path(__file__).parents[1] / "data" / f"{name}.jpg"), (960, 720))
    for name in NAMES
}
VIEWS = {name: cv2.resize(image, (640, 480)) for name, image in LARGE.items()}
VIEWS["wall"] = np.full((480, 640, 3), (190, 195, 200), np.uint8)
# Most of the rocket's view is sky without texture.
TEXTURED = [name for name in NAMES if name != "rocket"]


def decisions(frames, rate_hz=10.0, start_s=100.0, keyframes=None, **settings):
    """The decision on every frame, as a node that analyses at once would make it."""
    keyframes, found = keyframes or Keyframes(), []
    for number, frame in enumerate(frames):
        stamp_ns = round((start_s + number / rate_hz) * 1e9)
        found.append(keyframes.decide(frame, stamp_ns, KeyframeSettings(**settings)))
    return found


def reasons_of(frames, **arguments):
    """The reason of every decision, "" if the frame is no keyframe."""
    return [decision.reason if decision else "" for decision in decisions(frames, **arguments)]


def exposed(image, gain=1.0, offset=0.0, gamma=1.0, balance=(1.0, 1.0, 1.0), noise=0.0, seed=0):
    """The image (HxWx3 BGR) under another exposure, white balance and gamma."""
    levels = np.arange(256)[:, None] / 255.0
    levels = 255.0 * levels**gamma * np.array(balance) * gain + offset
    if not noise:
        # One table per channel is much faster than the same arithmetic on every pixel.
        return cv2.LUT(image, np.clip(np.rint(levels), 0, 255).astype(np.uint8)[None])
    light = levels[image, np.arange(3)]
    light += np.random.default_rng(seed).normal(0.0, noise, image.shape)
    return np.clip(np.rint(light), 0, 255).astype(np.uint8)


def with_person(image, x, height=220, colours=((60, 40, 140), (40, 40, 40), (140, 170, 220))):
    """A person whose centre is at column x: jacket, trousers, head."""
    drawn, foot = image.copy(), image.shape[0] - 30
    width = round(height * 0.32)
    jacket, trousers, skin = colours
    top = foot - height
    cv2.rectangle(drawn, (x - width // 3, foot - height // 2), (x + width // 3, foot), trousers, -1)
    cv2.ellipse(
        drawn, (x, top + round(height * 0.36)), (width // 2, round(height * 0.24)), 0, 0, 360,
        jacket, -1,
    )  # fmt: skip
    cv2.circle(drawn, (x, top + round(height * 0.08)), round(height * 0.08), skin, -1)
    return drawn


def sine(number, period):
    return math.sin(2 * math.pi * number / period)
