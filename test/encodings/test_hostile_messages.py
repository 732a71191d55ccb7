"""An image message is never more than a message: whatever it contains, it costs little."""

import resource
import subprocess
import sys
import zlib
from types import SimpleNamespace

import cv2
import numpy as np
import pytest

from deep_perception.encodings import EncodingError, FrameDecoder, compressed_to_bgr, to_bgr
from deep_perception.images.pixels import MAX_COMPRESSED_BYTES, MAX_MESSAGE_PIXELS
from support import hostile_images as hostile

BOMBS = hostile.bombs()
# Beside the limits, no image is larger than this in these tests.
MEMORY = 500_000_000


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_from_its_headers(name):
    data, said = BOMBS[name]
    with pytest.raises(EncodingError, match=said) as caught:
        compressed_to_bgr(data, "jpeg")
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize(
    ("name", "format_"),
    [
        (".webp", "jpeg"), (".webp", "webp"), (".tiff", "jpeg"), (".bmp", "png"), (".hdr", "hdr"),
        (".ppm", "ppm"), (".jp2", "jpeg"), (".pfm", "png"), (".gif", "jpeg"), (".avif", "avif"),
    ],
)  # fmt: skip
def test_no_other_format_is_decoded_from_a_message(name, format_):
    pixels = hostile.NOISE.astype(np.float32) if name in (".hdr", ".pfm") else hostile.NOISE
    try:
        data = hostile.encoded(name, pixels)
    except (cv2.error, AssertionError):
        # This version of OpenCV does not write it; the first bytes decide.
        data = {".gif": b"GIF89a", ".avif": b"\0\0\0\x1cftypavif"}[name].ljust(500, b"\0")
    with pytest.raises(EncodingError, match="expected jpeg or png"):
        compressed_to_bgr(data, format_)


@pytest.mark.parametrize(
    ("data", "format_", "said"),
    [
        (hostile.rvl(30_000, 30_000), "16UC1; compressedDepth rvl", "too large"),
        (hostile.rvl(3000, 3000, b"\x77" * 64), "16UC1; compressedDepth rvl", "too large"),
        (hostile.rvl(-5, 3), "16UC1; compressedDepth rvl", "no pixels"),
        (hostile.rvl(900, 900, b"\xff" * 40_000), "16UC1; compressedDepth rvl", "cut off"),
        (hostile.rvl(900, 900, b"\0" * 40_000), "16UC1; compressedDepth rvl", "cut off|damaged"),
        (hostile.tiff(30_000, 30_000), "32FC1; tiff compressed", "too large"),
        (hostile.tiff(9, 9, bytes(81), more=[(322, 4, 1, 65_536), (323, 4, 1, 65_536)]),
         "32FC1; tiff compressed", "too large"),
        (hostile.overlapping(5000, 5_000_000), "32FC1; tiff compressed", "damaged"),
        (hostile.PNG + hostile.header(9, 9) + b"\0\0\0\0A\x1b\n\x9bxxxx", "png",
         r"checksum of its A\\x1b\\n\\x9b chunk"),
        (b"", "x" * 5_000_000, r"'x{60}… \(5000000 characters\)'"),
        (b"abc", "\x1b[2J\nerror" * 1000, r"'\\x1b\[2J\\nerror"),
    ],
)  # fmt: skip
def test_other_doors_are_as_narrow(data, format_, said):
    with pytest.raises(EncodingError, match=said) as caught:
        compressed_to_bgr(data, format_)
    assert len(str(caught.value)) < 300 and str(caught.value).isprintable()


def test_data_of_more_bytes_than_an_image_has_are_not_looked_at():
    data = hostile.jpeg() + bytes(MAX_COMPRESSED_BYTES)
    with pytest.raises(EncodingError, match=r"too large \(80 MB, at most 80 MB\)"):
        compressed_to_bgr(data, "jpeg")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"width": 2**32 - 1, "height": 2**32 - 1, "step": 2**32 - 1}, "too large"),
        ({"width": 1, "height": 2**32 - 1}, "too large"),
        ({"width": 40_000_000, "height": 1, "step": 2**32 - 1}, "too large .* row or column"),
        ({"step": 2**32 - 1}, "needs"),
        ({"step": 0}, "step is 0"),
        ({"width": 0}, "0x4"),
        ({"height": 0}, "4x0"),
        ({"encoding": "mono8" * 1_000_000}, r"'(mono8){12}… \(5000000 characters\)'"),
        ({"encoding": "\x1b[31mrgb8\u202e"}, r"'\\x1b\[31mrgb8\\u202e'"),
        ({"encoding": "64FC4", "width": 3000, "height": 3000, "step": 96_000}, "too large"),
        ({"encoding": "bayer_rggb32"}, "not supported"),
        ({"encoding": ""}, "not supported"),
    ],
)
def test_fields_that_contradict_the_data_are_refused(fields, said):
    usual = {"width": 4, "height": 4, "encoding": "mono8", "step": 4, "is_bigendian": 255}
    with pytest.raises(EncodingError, match=said) as caught:
        to_bgr(bytes(16), **{**usual, **fields})
    assert len(str(caught.value)) < 1000 and str(caught.value).isprintable()


@pytest.mark.parametrize("encoding", ["bayer_rggb8", "bayer_gbrg16", "nv12", "uyvy", "mono8"])
@pytest.mark.parametrize("size", [(1, 1), (2, 1), (1, 2), (2, 2), (3, 3), (1, 200), (200, 1)])
def test_the_smallest_images_give_an_image_or_an_error(encoding, size):
    width, height = size
    try:
        image = to_bgr(
            bytes(4 * width * height), width=width, height=height, encoding=encoding,
            step=2 * width, is_bigendian=255,
        )  # fmt: skip
    except EncodingError:
        return
    assert image.shape == (height, width, 3)


@pytest.mark.parametrize(
    ("data", "format_"),
    [
        # Metadata are left out, whatever they would become.
        (hostile.png(64, 64, extra=hostile.chunk(b"zTXt", b"a\0\0" + hostile.zeros(10**8))), "png"),
        (hostile.png(64, 64, extra=hostile.chunk(b"iCCP", b"a\0\0" + hostile.zeros(10**8))), "png"),
        (hostile.png(64, 64, extra=hostile.chunk(b"eXIf", hostile.overlapping(5000, 65_000))),
         "png"),
        (hostile.png(64, 64, extra=hostile.chunk(b"acTL", b"\0\x0f\0\0" * 2)
                     + hostile.chunk(b"fcTL", b"\0" * 26)), "png"),
        # One chunk for all pixels, as small writers do, and a chunk of every few bytes.
        (hostile.png(64, 64, data=hostile.zeros(64 * 193)), "jpeg"),
        # A JPEG of another camera as its thumbnail, and one behind it.
        (hostile.jpeg()[:2] + hostile.segment(0xE1, b"Exif\0\0" + hostile.jpeg())
         + hostile.jpeg()[2:] + hostile.jpeg(), "jpeg"),
        (hostile.jpeg()[:2] + hostile.segment(0xE2, b"MPF\0" + hostile.overlapping(400, 60_000))
         + hostile.jpeg()[2:], "jpeg"),
        (hostile.jpeg()[:2] + hostile.segment(0xFE, bytes(60_000)) * 200 + hostile.jpeg()[2:],
         "jpeg"),
        (hostile.jpeg(cv2.IMWRITE_JPEG_PROGRESSIVE, 1), "jpeg"),
        (hostile.jpeg(cv2.IMWRITE_JPEG_QUALITY, 100), "jpeg"),
    ],
)  # fmt: skip
def test_an_honest_image_is_decoded_with_any_metadata(data, format_):
    assert compressed_to_bgr(data, format_).shape == (64, 64, 3)


def test_a_png_of_one_large_chunk_is_decoded():
    # OpenCV itself takes no chunk of more than 8 MB.
    pixels = np.random.default_rng(1).integers(0, 256, (1800, 1800, 3), np.uint8)
    rows = np.hstack([np.zeros((1800, 1), np.uint8), pixels[..., ::-1].reshape(1800, -1)])
    data = hostile.png(1800, 1800, data=zlib.compress(rows.tobytes(), 0))
    assert np.array_equal(compressed_to_bgr(data, "png"), pixels)


def limited(code, memory):
    """Run code in a process that gets so much memory beyond what it has after its imports."""
    start = (
        "import resource, sys\n"
        "from deep_perception.encodings import EncodingError, FrameDecoder, compressed_to_bgr\n"
        "from support import hostile_images as hostile\n"
        "used = int(open('/proc/self/statm').read().split()[0]) * resource.getpagesize()\n"
        f"resource.setrlimit(resource.RLIMIT_AS, (used + {memory}, used + {memory}))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", start + code], capture_output=True, text=True, check=False,
        env={"PYTHONPATH": ":".join(filter(None, sys.path)), "OPENBLAS_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return done.stdout


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(resource, "RLIMIT_AS"), reason="no limit of memory here")
def test_bombs_take_no_memory():
    found = limited(
        "for name, (data, said) in hostile.bombs().items():\n"
        "    try:\n"
        "        compressed_to_bgr(data, 'jpeg')\n"
        "    except EncodingError as error:\n"
        "        assert 'memory' not in str(error), (name, error)\n"
        "        print(name)\n",
        MEMORY,
    )
    assert found.splitlines() == list(BOMBS)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("image", "format_"),
    [
        ("hostile.png(6324, 6324, depth=1, color=0)", "png"),
        ("hostile.png(6324, 6324, color=6)", "png"),
        ("hostile.png(4472, 4472, depth=16, color=6)", "png"),
        ("hostile.jpeg(pixels=hostile.FLAT.repeat(98, 0).repeat(98, 1))", "jpeg"),
        ("hostile.jpeg(2, 1, pixels=hostile.FLAT.repeat(69, 0).repeat(69, 1))", "jpeg"),
    ],
)
def test_the_largest_images_are_decoded_in_bounded_memory(image, format_):
    code = (
        "from types import SimpleNamespace\n"
        f"message = SimpleNamespace(data={image}, format={format_!r})\n"
        "print(FrameDecoder().decode(message).size)\n"
    )
    assert int(limited(code, 900_000_000)) > MAX_MESSAGE_PIXELS


def test_a_preview_of_a_bomb_is_refused_and_changes_nothing():
    decoder = FrameDecoder()
    depth = np.arange(64, dtype=np.uint16).reshape(8, 8) * 100
    good = SimpleNamespace(
        data=depth.tobytes(), width=8, height=8, encoding="16UC1", step=16, is_bigendian=0
    )
    first = decoder.decode(good)
    for data, _ in list(BOMBS.values())[:3]:
        with pytest.raises(EncodingError):
            decoder.preview(SimpleNamespace(data=data, format="png"))
    assert np.array_equal(decoder.decode(good), first)
