"""Whatever a publisher sends: an image within the limits comes out, or EncodingError."""

import struct
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.encodings import ENCODINGS, EncodingError, FrameDecoder
from deep_perception.images.pixels import MAX_MESSAGE_PIXELS
from deep_perception.untrusted.text import printable
from support import hostile_images as hostile

DEPTH = np.arange(64, dtype=np.uint16).reshape(8, 8) * 100
SMALL = hostile.NOISE[:16, :16]
SEEDS = (
    hostile.jpeg(pixels=SMALL),
    hostile.jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1, pixels=SMALL),
    hostile.encoded(".jpg", SMALL[..., 0]),
    hostile.encoded(".png", SMALL),
    hostile.encoded(".png", DEPTH),
    hostile.png(16, 16, color=3, extra=hostile.chunk(b"PLTE", bytes(768))),
    hostile.encoded(".tiff", DEPTH.astype(np.float32)),
    struct.pack("<iff", 0, 100.0, -9.0) + hostile.encoded(".png", DEPTH),
    hostile.rvl(8, 8, b"\x11\x21\x31\x12" * 40),
)
FORMATS = (
    "jpeg", "png", "rgb8; jpeg compressed bgr8", "bayer_rggb8; png compressed ",
    "16UC1; compressedDepth png", "32FC1; compressedDepth rvl", "32FC1; tiff compressed",
)  # fmt: skip
# A value that is put over, into or instead of some bytes.
MUTATIONS = st.lists(
    st.tuples(
        st.integers(0, 2000), st.integers(0, 4),
        st.one_of(
            st.binary(max_size=8),
            st.sampled_from([b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0", b"\xff\xda",
                             b"\xff\xc0\0\x11\x08\x75\x30\x75\x30\3", b"\xff\xdd\0\4\0\1"]),
        ),
    ),
    max_size=6,
)  # fmt: skip
CHUNKS = st.sampled_from([b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND", b"acTL", b"fdAT", b"eXIf"])


def check(message):
    decoder = FrameDecoder()
    for decode in (decoder.decode, decoder.preview):
        try:
            image = decode(message)
        except EncodingError as error:
            # Nothing in it needs to be escaped.
            assert printable(str(error), 1000) == str(error)
            continue
        assert image.dtype == np.uint8 and image.ndim == 3 and image.shape[2] == 3
        assert 0 < image.shape[0] * image.shape[1] <= MAX_MESSAGE_PIXELS


@pytest.mark.fuzz
@given(st.sampled_from(SEEDS), MUTATIONS, st.integers(0, 2000), st.sampled_from(FORMATS))
def test_changed_images(data, mutations, cut, format_):
    for at, removed, added in mutations:
        at %= len(data) + 1
        data = data[:at] + added + data[at + removed :]
    check(SimpleNamespace(data=data[: cut or None], format=format_))


@pytest.mark.fuzz
@given(st.lists(st.tuples(CHUNKS, st.binary(max_size=30)), max_size=8), st.binary(max_size=13))
def test_any_chunks_of_a_png(chunks, start):
    data = hostile.PNG + hostile.chunk(b"IHDR", start.ljust(13, b"\1"))
    data += b"".join(hostile.chunk(*each) for each in chunks)
    check(SimpleNamespace(data=data, format="png"))


@pytest.mark.fuzz
@given(st.lists(st.tuples(st.integers(0xC0, 0xFE), st.binary(max_size=80)), max_size=8))
def test_any_segments_of_a_jpeg(segments):
    data = SEEDS[0]
    for marker, content in segments:
        data = data[:2] + hostile.segment(marker, content) + data[2:]
    check(SimpleNamespace(data=data, format="jpeg"))


@pytest.mark.fuzz
@given(
    st.sampled_from([b"", hostile.PNG, b"\xff\xd8\xff", b"II*\0", b"MM\0*", bytes(12)]),
    st.binary(max_size=400),
    st.one_of(st.sampled_from(FORMATS), st.text(max_size=80)),
)
def test_any_bytes(signature, content, format_):
    check(SimpleNamespace(data=signature + content, format=format_))


SIDES = st.one_of(st.integers(0, 70), st.sampled_from([2**31, 2**32 - 1, 30_000, 200_001]))


@pytest.mark.fuzz
@given(
    SIDES, SIDES, SIDES, st.integers(0, 255), st.binary(max_size=2000), st.integers(1, 8),
    st.one_of(st.sampled_from(sorted(ENCODINGS)), st.text(max_size=80)),
)  # fmt: skip
def test_any_raw_image(width, height, step, is_bigendian, data, times, encoding):
    message = SimpleNamespace(
        width=width, height=height, step=step, is_bigendian=is_bigendian, data=data * times,
        encoding=encoding,
    )  # fmt: skip
    check(message)
