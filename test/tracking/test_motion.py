"""The camera's motion and exposure between two images, compared with the true ones."""

import cv2
import numpy as np
import pytest

from deep_perception.tracking.motion import ViewFeatures, estimate
from synthetic.moving_scenes import SIZE, looking_at, shaken
from synthetic.photographs import PHOTOGRAPHS, photograph

GRID = np.stack(np.meshgrid(np.linspace(60, 580, 8), np.linspace(60, 420, 6)), -1)


def camera_image(number, camera):
    return cv2.warpPerspective(photograph(1280, 960, number), camera, SIZE)


@pytest.mark.parametrize("number", range(len(PHOTOGRAPHS)))
@pytest.mark.parametrize("seed", range(4))
def test_motion_and_exposure_are_estimated(number, seed):
    rng = np.random.default_rng(seed)
    before, after = looking_at(), shaken(looking_at(), 1.0, rng)
    gain, offset = rng.uniform(0.75, 1.3), rng.uniform(-10, 10)
    dark = camera_image(number, before) * 0.75
    other = np.clip(camera_image(number, after) * 0.75 * gain + offset, 0, 255)
    other = np.clip(other + rng.normal(0, 2, other.shape), 0, 255).astype(np.uint8)
    motion = estimate(ViewFeatures.of(dark.astype(np.uint8)), ViewFeatures.of(other))
    assert motion.overlap
    points = GRID.reshape(-1, 1, 2)
    error = np.linalg.norm(
        cv2.perspectiveTransform(points, motion.matrix)
        - cv2.perspectiveTransform(points, after @ np.linalg.inv(before)),
        axis=2,
    )
    # The bound allows for a photograph with few corners in a dusk sky.
    assert np.median(error) < 5
    # The exposure is compared at grey levels, because errors of gain and offset can compensate.
    levels = np.array([60, 120, 180])
    found = motion.exposure.gain * levels + motion.exposure.offset
    assert np.abs(found - (gain * levels + offset)).max() < 14


def test_an_image_has_not_moved_relative_to_itself():
    view = ViewFeatures.of(camera_image(0, looking_at()))
    motion = estimate(view, view)
    assert motion.overlap and np.allclose(motion.matrix, np.eye(3), atol=1e-3)
    assert (motion.exposure.gain, motion.exposure.offset) == (1.0, 0.0)


@pytest.mark.parametrize("number", range(len(PHOTOGRAPHS)))
def test_other_photographs_do_not_overlap(number):
    view = ViewFeatures.of(camera_image(number, looking_at()))
    for other in range(len(PHOTOGRAPHS)):
        if other != number:
            assert not estimate(view, ViewFeatures.of(camera_image(other, looking_at()))).overlap


def test_a_covered_camera_overlaps_only_with_a_covered_camera():
    view = ViewFeatures.of(camera_image(0, looking_at()))
    rng = np.random.default_rng(0)
    black = ViewFeatures.of(rng.integers(0, 3, (480, 640, 3), dtype=np.uint8))
    assert not estimate(view, black).overlap and not estimate(black, view).overlap
    assert estimate(black, black).overlap
