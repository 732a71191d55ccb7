"""Images in all encodings of sensor_msgs are decoded to the colours that were encoded."""

import sys

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.encodings import ENCODINGS, EncodingError, to_bgr
from support.raw_images import HEIGHT, SCENE, WIDTH, raw


def to_message(pixels, encoding, *, padding=0, is_bigendian=False):
    """The fields of a sensor_msgs/Image with these pixels."""
    swapped = pixels.astype(pixels.dtype.newbyteorder(">" if is_bigendian else "<"))
    rows = [row.tobytes() + b"\xa5" * padding for row in swapped]
    return {
        "data": b"".join(rows),
        "width": WIDTH,
        "height": HEIGHT,
        "encoding": encoding,
        "step": len(rows[0]),
        "is_bigendian": is_bigendian,
    }


def yuv_planes(scene, second):
    """NV21 (V first) or NV12, made from OpenCV's I420 by interleaving its colour planes."""
    i420 = cv2.cvtColor(scene, cv2.COLOR_BGR2YUV_I420).reshape(-1)
    luma, quarter = WIDTH * HEIGHT, WIDTH * HEIGHT // 4
    u, v = i420[luma : luma + quarter], i420[luma + quarter :]
    chroma = np.stack([v, u] if second == "u" else [u, v], axis=1)
    return np.concatenate([i420[:luma], chroma.reshape(-1)]).reshape(-1, WIDTH)


def packed_yuv(scene, order):
    yuv = cv2.cvtColor(scene, cv2.COLOR_BGR2YUV_I420)
    luma, quarter = WIDTH * HEIGHT, WIDTH * HEIGHT // 4
    flat = yuv.reshape(-1)
    y = flat[:luma].reshape(HEIGHT, WIDTH)
    u = flat[luma : luma + quarter].reshape(HEIGHT // 2, WIDTH // 2).repeat(2, axis=0)
    v = flat[luma + quarter :].reshape(HEIGHT // 2, WIDTH // 2).repeat(2, axis=0)
    packed = np.zeros((HEIGHT, WIDTH, 2), np.uint8)
    luma_at, chroma_at = (1, 0) if order == "uyvy" else (0, 1)
    packed[..., luma_at] = y
    packed[:, 0::2, chroma_at], packed[:, 1::2, chroma_at] = u, v
    return packed


# The quarters meet between rows 2 and 3, which share colour in 4:2:0, so the insides are compared.
INSIDE = (slice(None), (0, 1, 4, 5))


def alpha(scene):
    return np.dstack([scene, np.full(scene.shape[:2], 77, np.uint8)])


@pytest.mark.parametrize("padding", [0, 5])
@pytest.mark.parametrize(
    ("encoding", "pixels", "tolerance"),
    [
        ("bgr8", SCENE, 0),
        ("8UC3", SCENE, 0),
        ("rgb8", SCENE[..., ::-1], 0),
        ("bgra8", alpha(SCENE), 0),
        ("rgba8", alpha(SCENE[..., ::-1]), 0),
        # The conversion to YUV rounds.
        ("nv21", yuv_planes(SCENE, "u"), 6),
        ("nv12", yuv_planes(SCENE, "v"), 6),
        ("uyvy", packed_yuv(SCENE, "uyvy"), 6),
        ("yuv422", packed_yuv(SCENE, "uyvy"), 6),
        ("yuyv", packed_yuv(SCENE, "yuyv"), 6),
        ("yuv422_yuy2", packed_yuv(SCENE, "yuyv"), 6),
    ],
)
def test_colour_encodings(encoding, pixels, tolerance, padding):
    message = to_message(pixels.reshape(len(pixels), -1), encoding, padding=padding)
    found = to_bgr(**message)[INSIDE[1], :].astype(int)
    assert np.abs(found - SCENE[INSIDE[1], :]).max() <= tolerance


BAYER = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


@pytest.mark.parametrize("depth", [8, 16])
@pytest.mark.parametrize("pattern", BAYER)
def test_bayer_patterns_are_named_by_their_first_row(pattern, depth):
    color = np.array([30, 90, 220], np.uint8)  # The colour of an image before the Bayer filter.
    mosaic = np.zeros((HEIGHT, WIDTH), np.uint8)
    for position, letter in enumerate(pattern):
        mosaic[position // 2 :: 2, position % 2 :: 2] = color["bgr".index(letter)]
    pixels = mosaic if depth == 8 else mosaic.astype(np.uint16) * 257
    found = to_bgr(**to_message(pixels, f"bayer_{pattern}{depth}"))
    assert np.array_equal(found, np.broadcast_to(color, SCENE.shape))


@pytest.mark.parametrize("is_bigendian", [False, True])
@pytest.mark.parametrize(
    ("encoding", "pixels", "expected"),
    [
        ("mono8", np.array([0, 10, 255], np.uint8), [0, 10, 255]),
        ("8UC1", np.array([0, 10, 255], np.uint8), [0, 10, 255]),
        # What uses most of its 16 bits is shown as a viewer shows it.
        ("mono16", np.array([0, 257, 65535], np.uint16), [0, 1, 255]),
        # Depth has its own range, with a margin, and 0 means "no measurement".
        ("16UC1", np.array([0, 700, 4500], np.uint16), [0, 26, 230]),
        ("32FC1", np.array([np.nan, 0.7, 4.5], np.float32), [0, 26, 230]),
        ("32FC1", np.array([np.inf, 0.7, 4.5], np.float32), [0, 26, 230]),
    ],
)
def test_grey_and_depth(encoding, pixels, expected, is_bigendian):
    rows = np.zeros((HEIGHT, WIDTH), pixels.dtype)
    rows[:, :3], rows[:, 3:] = pixels, pixels[1]
    found = to_bgr(**to_message(rows, encoding, padding=3, is_bigendian=is_bigendian))
    assert found[0, :3].tolist() == [[value] * 3 for value in expected]


def test_a_depth_image_without_a_measurement_is_black():
    pixels = np.full((HEIGHT, WIDTH), np.nan, np.float32)
    assert to_bgr(**to_message(pixels, "32FC1")).max() == 0


BASE = to_message(SCENE.reshape(HEIGHT, -1), "bgr8")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"encoding": "jpeg2000"}, r"encoding 'jpeg2000' is not supported; supported are rgb8"),
        ({"encoding": ""}, r"encoding '' is not supported"),
        ({"width": 0}, r"the image is 0x6 pixels"),
        ({"step": 10}, r"step is 10 bytes, but 8 pixels of bgr8 need 24"),
        ({"step": 0}, r"step is 0 bytes"),
        ({"data": b"123"}, r"data has 3 bytes, .* needs 144"),
        ({"data": b""}, r"data has 0 bytes"),
        ({"encoding": "uyvy", "width": 7}, r"uyvy needs even sizes, the image is 7x6"),
        ({"encoding": "nv21", "height": 5}, r"nv21 needs even sizes, the image is 8x5"),
    ],
)
def test_an_inconsistent_message_is_refused(change, message):
    with pytest.raises(EncodingError, match=message):
        to_bgr(**{**BASE, **change})


@given(
    st.sampled_from(sorted(ENCODINGS)),
    st.integers(0, 40),
    st.integers(0, 40),
    st.integers(0, 200),
    st.binary(max_size=4000),
    st.booleans(),
)
def test_any_bytes_give_an_image_or_an_encoding_error(encoding, width, height, step, data, big):
    try:
        image = to_bgr(
            data, width=width, height=height, encoding=encoding, step=step, is_bigendian=big
        )
    except EncodingError:
        return
    assert (image.shape, image.dtype) == ((height, width, 3), np.uint8)


DEEP_ENCODINGS = [
    "mono16", "16UC1", "16SC1", "8SC1", "32SC1", "32FC1", "64FC1", "16FC1", "rgb16", "bgr16",
    "rgba16", "bgra16", "16UC3", "16UC4", "32FC3", "bayer_rggb16",
]  # fmt: skip


@pytest.mark.parametrize("encoding", DEEP_ENCODINGS)
@pytest.mark.parametrize("is_bigendian", [False, True])
def test_every_deep_encoding_shows_low_dark_and_high_bright(encoding, is_bigendian):
    layout = ENCODINGS[encoding]
    low, high = (-100, 100) if layout.dtype[0] == "i" else (100, 1000)
    pixels = np.full((40, 40, layout.channels), low, np.dtype(layout.dtype))
    pixels[10:30, 10:30] = high
    swapped = pixels.astype(pixels.dtype.newbyteorder(">" if is_bigendian else "<"))
    found = to_bgr(
        swapped.tobytes(),
        width=40,
        height=40,
        encoding=encoding,
        step=swapped[0].nbytes,
        is_bigendian=is_bigendian,
    )
    assert found[20, 20].min() > found[2, 2].max() + 60


def test_deep_colours_keep_their_hue():
    pixels = np.zeros((40, 40, 3), np.uint16)
    pixels[:, :20], pixels[:, 20:] = (400, 800, 1600), (1600, 800, 400)
    for encoding, order in (("bgr16", slice(None)), ("rgb16", slice(None, None, -1))):
        found = raw(np.ascontiguousarray(pixels[..., order]), encoding).astype(float)
        for column in (5, 35):
            blue, green, red = found[20, column]
            assert max(blue, red) / green == pytest.approx(2, rel=0.05)
            assert green / min(blue, red) == pytest.approx(2, rel=0.05)


@pytest.mark.skipif(sys.byteorder != "little", reason="needs a little-endian machine")
def test_a_bgr8_image_shares_the_memory_of_the_message():
    data = bytearray(BASE["data"])
    image = to_bgr(**{**BASE, "data": data})
    assert np.shares_memory(image, np.frombuffer(data, np.uint8))
