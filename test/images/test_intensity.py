"""Depth, thermal and 12-bit images as 8 bits: what can be told apart, and what must not move.

The file is longer than 300 lines because its tests share the images of three surfaces.
"""

import itertools
import struct

import cv2
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from deep_perception import images
from deep_perception.encodings import FrameDecoder, message_to_bgr
from deep_perception.images.intensity import Deep, RangeState, find_range, to_8_bits
from deep_perception.keyframes import Keyframes
from deep_perception.settings import KeyframeSettings

SHAPE = (120, 160)
NOISE = np.random.default_rng(5).normal(0, 1, SHAPE)


def layers(near, floor, wall, *, noise=0.0, dtype=np.uint16):
    """Three surfaces of equal values, with noise of a standard deviation."""
    values = np.full(SHAPE, floor, np.float64)
    values[:40], values[60:100, 40:100] = wall, near
    values += noise * NOISE
    return (np.rint(values) if np.dtype(dtype).kind in "iu" else values).astype(dtype)


def with_object(values, value, share=0.02):
    """The values with an object on the floor that covers a share of the image."""
    values = values.copy()
    side = round((share * values.size) ** 0.5)
    values[102 : 102 + min(side, 18), 5 : 5 + round(share * values.size / min(side, 18))] = value
    return values


def shown(values, *, is_light=False):
    deep = Deep(values, is_light)
    return to_8_bits(deep, find_range(deep))


def greys(picture):
    """Median grey levels of near, floor and wall, and of the place of an object."""
    places = (picture[65:95, 45:95], picture[105:, 120:], picture[:30], picture[103:106, 6:9])
    return [int(np.median(place)) for place in places]


def holes(values, value, share=0.3):
    values = values.copy()
    values[:, : round(share * SHAPE[1])] = value
    return np.roll(values, -8, axis=1)


@pytest.mark.parametrize(
    "values",
    [
        pytest.param(layers(1200, 2500, 4000, noise=3), id="depth in mm"),
        pytest.param(layers(12000, 25000, 60000, noise=9), id="depth in tenths of mm"),
        pytest.param(holes(layers(1200, 2500, 4000), 0), id="0 is no measurement"),
        pytest.param(holes(layers(1200, 2500, 4000), 65535), id="65535 is no measurement"),
        pytest.param(layers(29315, 29900, 30615, noise=4), id="centikelvin"),
        pytest.param(holes(layers(29315, 29900, 30615), 65535, 0.05), id="saturated centikelvin"),
        pytest.param(layers(150, 400, 1000, noise=5), id="10-bit camera"),
        pytest.param(layers(150, 1400, 4000, noise=20), id="12-bit camera"),
        pytest.param(layers(1.2, 2.5, 4.0, noise=0.01, dtype=np.float32), id="depth in m"),
        pytest.param(holes(layers(1.2, 2.5, 4, dtype=np.float32), np.nan), id="NaN"),
        pytest.param(holes(layers(1.2, 2.5, 4, dtype=np.float32), np.inf), id="+inf"),
        pytest.param(holes(layers(1.2, 2.5, 4, dtype=np.float32), -np.inf), id="-inf"),
        pytest.param(holes(layers(1.2, 2.5, 4, dtype=np.float32), 10_000), id="far plane"),
        pytest.param(
            holes(layers(900, 1500, 4000, noise=3, dtype=np.float32), 65536), id="65536.0 in depth"
        ),
        pytest.param(holes(layers(20, 24, 31, dtype=np.float32), -9999), id="-9999"),
        pytest.param(holes(layers(20, 24, 31, dtype=np.float32), -3.4e38), id="largest float"),
        pytest.param(holes(layers(1.2, 2.5, 4, dtype=np.float32), -1), id="-1 in depth"),
        pytest.param(layers(-200, 5, 300, dtype=np.int16, noise=2), id="int16"),
        pytest.param(holes(layers(-200, 5, 300, dtype=np.int16), -32768), id="int16 without data"),
        pytest.param(holes(layers(100, 500, 900, dtype=np.int16), -16), id="disparity"),
        pytest.param(layers(-100, 5, 90, dtype=np.int8), id="int8"),
        pytest.param(layers(3e9, 3.2e9, 4e9, dtype=np.uint32), id="uint32"),
        pytest.param(layers(-2e9, 5, 2e9, dtype=np.int64), id="int64"),
        pytest.param(layers(-2e-9, 5e-10, 2e-9, dtype=np.float64), id="float64"),
        pytest.param(layers(0.1, 0.5, 0.9, dtype=np.float16), id="float16"),
    ],
)
def test_surfaces_are_told_apart_whatever_the_unit(values):
    picture = shown(values)
    near, floor, wall, _ = greys(np.roll(picture, 8, axis=1) if picture[0, -1] == 0 else picture)
    assert 0 < near < floor - 20 < wall - 40


@pytest.mark.parametrize(
    ("room", "value"),
    [
        (layers(29315, 29315, 29315), 30615),
        (layers(29315, 29315, 29315, noise=4), 30615),
        (layers(29000, 29315, 29600, noise=4), 30615),
        (layers(22.0, 22.0, 23.0, noise=0.05, dtype=np.float32), 35.0),
        (layers(2000, 2000, 4000, noise=5), 700),
        (layers(100, 100, 140, noise=2), 3900),
    ],
)
@pytest.mark.parametrize("share", [0.002, 0.02])
@pytest.mark.parametrize("is_light", [False, True])
def test_a_small_object_differs_from_its_surroundings(room, value, share, is_light):
    _, floor, _, place = greys(shown(with_object(room, value, share), is_light=is_light))
    assert abs(place - floor) > 25
    # And nothing else gets darker or brighter for an object of so few pixels.
    if share < 0.01:
        alone = greys(shown(room, is_light=is_light))
        assert abs(alone[1] - floor) <= 6


@pytest.mark.parametrize("is_light", [False, True])
def test_single_pixels_do_not_change_the_image(is_light):
    base = layers(1200, 2500, 4000, noise=3)
    expected = shown(base, is_light=is_light)
    for value in (1, 4095, 4096, 20_000, 65_535):
        changed = base.copy()
        changed[7, 9] = value
        picture = shown(changed, is_light=is_light).astype(int)
        picture[7, 9] = expected[7, 9]
        assert np.abs(picture - expected).max() <= 1


def test_what_is_equal_but_for_noise_is_no_picture_of_noise():
    for values in (layers(1000, 1000, 1000, noise=2), layers(60, 60, 60, noise=4)):
        for is_light in (False, True):
            assert shown(values, is_light=is_light).std() < 30


def test_pixels_without_a_measurement_are_black_and_all_others_are_not():
    values = layers(1.2, 2.5, 4, dtype=np.float32)
    values[0, :5] = np.nan, np.inf, -np.inf, 0, -1
    picture = shown(values)
    assert picture[0, :5].max() == 0
    assert picture[1:].min() > 0
    assert shown(np.full(SHAPE, np.nan, np.float32)).max() == 0
    assert shown(np.zeros(SHAPE, np.uint16)).max() == 0


@given(
    hnp.arrays(
        st.sampled_from([np.int8, np.uint16, np.int16, np.uint32, np.int64, np.float32]),
        hnp.array_shapes(min_dims=2, max_dims=2, min_side=1, max_side=12),
    ),
    st.booleans(),
)
@settings(max_examples=200)
def test_a_larger_value_is_never_darker(values, is_light):
    picture = shown(values, is_light=is_light).ravel().astype(int)
    flat = values.ravel()
    usable = np.isfinite(flat) & (np.abs(flat.astype(np.float64)) < 1e30)
    order = np.argsort(flat[usable], kind="stable")
    assert (np.diff(picture[usable][order]) >= 0).all()


def test_what_uses_most_of_16_bits_is_shown_as_viewers_do():
    ramp = np.linspace(0, 65535, 120 * 160).reshape(SHAPE).astype(np.uint16)
    assert np.abs(shown(ramp).astype(int) - ramp // 257).max() <= 1


def message(values, encoding):
    class Message:
        height, width = values.shape
        step = values.strides[0]
        is_bigendian = 0
        data = values.tobytes()

    Message.encoding = encoding
    return Message()


def test_one_image_looks_the_same_in_a_file_and_in_every_message(tmp_path):
    depth = layers(1200, 2500, 4700, noise=3)
    path = tmp_path / "depth.png"
    cv2.imwrite(str(path), depth)
    expected = images.load(path).astype(int)
    for encoding in ("mono16", "16UC1", "32FC1", "64FC1", "32SC1"):
        dtype = {"m": "u2", "1": "u2", "3": "f4" if "F" in encoding else "i4", "6": "f8"}
        values = depth.astype(dtype[encoding[0]])
        assert np.abs(message_to_bgr(message(values, encoding)).astype(int) - expected).max() <= 1


def stream(frames, encoding="16UC1"):
    """The images of a stream, and how many keyframes the change of light is taken for."""
    decoder, keyframes, selected, pictures = FrameDecoder(), Keyframes(), [], []
    for number, values in enumerate(frames):
        preview = decoder.preview(message(values, encoding))
        pictures.append(decoder.decode(message(values, encoding)))
        assert np.array_equal(preview, pictures[-1])
        # What the scene says about its range is enough to decode the frame again.
        again = message_to_bgr(message(values, encoding), decoder.intensity_range)
        assert np.array_equal(again, pictures[-1])
        decision = keyframes.decide(
            pictures[-1], number * 10**9, KeyframeSettings(max_interval_s=0)
        )
        selected += [decision.reason] if decision else []
    return pictures, selected


def textured(noise_seed, offset=0.0):
    """A view with texture and noise of its own, in the units of a thermal camera."""
    rng = np.random.default_rng(noise_seed)
    texture = cv2.GaussianBlur(np.random.default_rng(1).normal(0, 1, SHAPE), (0, 0), 4)
    values = 29500 + 2500 * texture + offset + rng.normal(0, 3, SHAPE)
    return np.rint(values).astype(np.uint16)


STILL = {
    "noise": [textured(n) for n in range(40)],
    "hot pixel in every second frame": [
        np.where(np.arange(160) * (n % 2) == 159, 60_000, textured(n)).astype(np.uint16)
        for n in range(40)
    ],
    "slow drift": [textured(n, 5 * n) for n in range(160)],
    "a wrong frame": [textured(n, 400 * (n == 20)) for n in range(40)],
}


@pytest.mark.parametrize("name", STILL)
def test_a_still_view_does_not_flicker_and_gives_one_keyframe(name):
    pictures, reasons = stream(STILL[name])
    assert reasons == ["first"]
    levels = [float(picture.mean()) for picture in pictures]
    allowed = 30 if name == "a wrong frame" else 5
    assert max(abs(a - b) for a, b in itertools.pairwise(levels)) < allowed
    if name.startswith(("noise", "hot")):
        assert max(levels) - min(levels) < 1


@pytest.mark.parametrize(
    ("share", "at_once"), [(0.02, False), (0.1, False), (0.6, True)], ids=["hot", "door", "cut"]
)
def test_a_new_range_is_moved_to_slowly_unless_the_view_is_another_one(share, at_once):
    before = layers(1200, 2500, 4000, noise=3)
    after = before.copy()
    after[-round(share * SHAPE[0]) :] = 20_000
    state, pictures = RangeState(), []
    for values in [before] * 5 + [after] * 120 + [before] * 160:
        state = state.after(Deep(values))
        pictures.append(to_8_bits(Deep(values), state.range))
    near = [int(np.median(picture[65:68, 45:95])) for picture in pictures]
    steps = [abs(a - b) for a, b in itertools.pairwise(near)]
    assert (max(steps) > 50) is at_once
    if not at_once:
        assert max(steps) <= 8
    # In the end the range is that of what is seen.
    alone = shown(after) if share > 0.01 else shown(before)
    assert np.abs(pictures[124].astype(int) - alone).max() <= 12
    assert np.abs(pictures[-1].astype(int) - shown(before)).max() <= 40


def test_the_state_depends_on_the_images_only():
    frames = [textured(n, 30 * n) for n in range(60)]
    state, states = RangeState(), []
    for values in frames:
        state = state.after(Deep(values))
        states.append(state)
    resumed = states[29]
    for values in frames[30:]:
        resumed = resumed.after(Deep(values))
    assert resumed == states[-1]


def tiff(values, *, order="<", photometric=1, compressed=False):
    """A plain TIFF file of any type."""
    import zlib

    height, width = values.shape[:2]
    channels = values.shape[2] if values.ndim == 3 else 1
    data = values.astype(values.dtype.newbyteorder(order)).tobytes()
    data = zlib.compress(data) if compressed else data
    kind = {"u": 1, "i": 2, "f": 3}[values.dtype.kind]
    bits = values.dtype.itemsize * 8
    tags = [
        (256, width), (257, height), (258, bits), (259, 8 if compressed else 1),
        (262, photometric if channels == 1 else 2), (273, 8), (277, channels), (278, height),
        (279, len(data)), (339, kind),
    ]  # fmt: skip
    entries = b"".join(struct.pack(f"{order}HHII", tag, 4, 1, value) for tag, value in tags)
    mark = b"II*\0" if order == "<" else b"MM\0*"
    directory = struct.pack(f"{order}H", len(tags)) + entries + bytes(4)
    return mark + struct.pack(f"{order}I", 8 + len(data)) + data + directory


@pytest.mark.parametrize("order", "<>")
@pytest.mark.parametrize(
    "dtype", ["i1", "i2", "u2", "i4", "u4", "i8", "u8", "f2", "f4", "f8"]
)  # fmt: skip
@pytest.mark.parametrize("compressed", [False, True])
def test_a_rising_tiff_rises_whatever_its_type(tmp_path, dtype, order, compressed):
    signed = np.dtype(dtype).kind != "u"
    top = {"i1": 127, "f2": 900}.get(dtype, 30_000)
    ramp = np.linspace(-top if signed else 1, top, 60 * 80).reshape(60, 80).astype(dtype)
    path = tmp_path / "a.tif"
    path.write_bytes(tiff(ramp, order=order, compressed=compressed))
    grey = images.load(path)[..., 0].ravel().astype(int)
    assert (np.diff(grey) >= 0).all()
    assert grey[0] < 35 and grey[-1] > 220


def test_unusual_tiffs(tmp_path):
    path = tmp_path / "a.tif"
    depth = layers(1200, 2500, 4000)
    path.write_bytes(tiff(depth, photometric=0))
    near, floor, wall, _ = greys(images.load(path)[..., 0])
    assert near > floor > wall
    path.write_bytes(tiff(np.dstack([depth, depth // 2, depth // 4])))
    blue, green, red = images.load(path)[70, 60].astype(float)
    assert red / green == pytest.approx(2, rel=0.1) and green / blue == pytest.approx(2, rel=0.1)
    path.write_bytes(tiff(depth)[:8] + tiff(depth)[-126 - 6 :])
    with pytest.raises(images.ImageError):
        images.load(path)
