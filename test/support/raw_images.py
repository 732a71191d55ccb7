"""Images of 8 and 16 bits, and what their raw messages look like."""

import cv2
import numpy as np

from deep_perception.encodings import to_bgr

WIDTH, HEIGHT = 8, 6
# Four quarters of one colour each, inside which subsampling of colours has no effect.
SCENE = np.zeros((HEIGHT, WIDTH, 3), np.uint8)
SCENE[:3, :4], SCENE[:3, 4:], SCENE[3:, :4], SCENE[3:, 4:] = (
    (200, 40, 30),
    (40, 180, 60),
    (50, 60, 210),
    (128, 128, 128),
)
BLURRED = cv2.GaussianBlur(
    np.random.default_rng(3).integers(0, 255, (60, 80, 3), np.uint8), (0, 0), 3
)
DEEP = BLURRED.astype(np.uint16) * 16
DEPTH = DEEP[..., 0]


def raw(pixels, encoding):
    """The image of the raw message with these pixels."""
    return to_bgr(
        pixels.tobytes(),
        width=pixels.shape[1],
        height=pixels.shape[0],
        encoding=encoding,
        step=pixels[0].nbytes,
        is_bigendian=False,
    )
