"""Images in CompressedImage messages look like the raw images, or are refused as a whole."""

import io
import struct
import zlib

import cv2
import numpy as np
import pytest

from deep_perception import images
from deep_perception.encodings import EncodingError, compressed_to_bgr
from deep_perception.images import ImageError
from support.raw_images import BLURRED, DEEP, DEPTH, HEIGHT, SCENE, raw

BAYER = {"rggb": "RGGB", "bggr": "BGGR", "gbrg": "GBRG", "grbg": "GRBG"}


def alpha(scene):
    return np.dstack([scene, np.full(scene.shape[:2], 77, np.uint8)])


def encoded(extension, pixels):
    done, data = cv2.imencode(extension, pixels)
    assert done
    return data.tobytes()


# JPEG encodes blocks of 8 or 16 pixels, each of which has one colour here.
LARGE = SCENE.repeat(16, axis=0).repeat(16, axis=1)


@pytest.mark.parametrize(
    ("format_", "data", "tolerance"),
    [
        ("png", encoded(".png", SCENE), 0),
        ("bgr8; png compressed bgr8", encoded(".png", SCENE), 0),
        ("png", encoded(".png", alpha(SCENE)), 0),
        ("jpeg", encoded(".jpg", LARGE), 6),
        ("rgb8; jpeg compressed bgr8", encoded(".jpg", LARGE), 6),
        # The bytes determine the format, not the field.
        ("jpeg", encoded(".png", SCENE), 0),
    ],
)
def test_compressed_formats(format_, data, tolerance):
    found = compressed_to_bgr(data, format_).astype(int)
    step = len(found) // HEIGHT
    assert np.abs(found[step // 2 :: step, step // 2 :: step] - SCENE).max() <= tolerance


def depth_header(quantum=0.0, offset=0.0):
    return struct.pack("<iff", 0, quantum, offset)


def rvl(depth):
    """RVL data of a depth image, number by number as its paper describes."""
    flat, nibbles, at, previous = depth.ravel().astype(int), [], 0, 0

    def put(number):
        while True:
            nibbles.append(number & 7 | (8 if number >> 3 else 0))
            number >>= 3
            if not number:
                return

    while at < flat.size:
        zeros = next((i for i in range(at, flat.size) if flat[i]), flat.size)
        end = next((i for i in range(zeros, flat.size) if not flat[i]), flat.size)
        put(zeros - at)
        put(end - zeros)
        for value in flat[zeros:end]:
            put((value - previous) * 2 if value >= previous else (previous - value) * 2 - 1)
            previous = value
        at = end
    nibbles += [0] * (-len(nibbles) % 8)
    words = [int("".join(f"{n:x}" for n in nibbles[i : i + 8]), 16)
             for i in range(0, len(nibbles), 8)]  # fmt: skip
    return struct.pack("<ii", *depth.shape[::-1]) + struct.pack(f"<{len(words)}I", *words)


HOLES = np.where(np.arange(80) % 7 < 3, 0, DEPTH + 1).astype(np.uint16)
# Depth as the publisher sends it: a / depth + b.
QUANTUM, OFFSET = 101.0 * 100, -90.0
METRES = np.where(HOLES == 0, np.nan, 0.5 + HOLES / 900.0).astype(np.float32)
INVERSE = np.where(HOLES == 0, 0, QUANTUM / METRES + OFFSET).astype(np.uint16)


@pytest.mark.parametrize(
    ("format_", "data", "pixels", "encoding"),
    [
        *[(f"bayer_{each}8; png compressed ", encoded(".png", BLURRED[..., 0]), BLURRED[..., 0],
           f"bayer_{each}8") for each in BAYER],
        *[(f"bayer_{each}16;png compressed", encoded(".png", DEPTH), DEPTH, f"bayer_{each}16")
          for each in BAYER],
        (" Bayer_RGGB8 ;  PNG compressed  ", encoded(".png", BLURRED[..., 0]), BLURRED[..., 0],
         "bayer_rggb8"),
        # A demosaiced image stays as it is.
        ("bayer_rggb8; png compressed bgr8", encoded(".png", BLURRED), BLURRED, "bgr8"),
        ("bayer_rggb16; png compressed bgr16", encoded(".png", DEEP), DEEP, "bgr16"),
        ("yuv422; png compressed bgr8", encoded(".png", BLURRED), BLURRED, "bgr8"),
        ("yuv422_yuy2; png compressed bgr8", encoded(".png", BLURRED), BLURRED, "bgr8"),
        ("rgb8; png compressed bgr8", encoded(".png", BLURRED), BLURRED, "bgr8"),
        ("rgb8; png compressed rgb8", encoded(".png", BLURRED), BLURRED, "rgb8"),
        ("rgba8; png compressed bgra8", encoded(".png", alpha(BLURRED)), alpha(BLURRED), "bgra8"),
        ("rgb16; png compressed bgr16", encoded(".png", DEEP), DEEP, "bgr16"),
        ("rgba16; png compressed bgra16", encoded(".png", np.dstack([DEEP, DEPTH])), DEEP, "bgr16"),
        ("mono8; png compressed ", encoded(".png", BLURRED[..., 0]), BLURRED[..., 0], "mono8"),
        ("mono16; png compressed ", encoded(".png", DEPTH), DEPTH, "mono16"),
        ("16UC1; png compressed ", encoded(".png", DEPTH), DEPTH, "16UC1"),
        ("png", encoded(".png", DEPTH), DEPTH, "16UC1"),
        ("32FC1; tiff compressed ", encoded(".tiff", METRES), METRES, "32FC1"),
        ("16UC1; compressedDepth", depth_header() + encoded(".png", HOLES), HOLES, "16UC1"),
        ("16UC1; compressedDepth png", depth_header() + encoded(".png", HOLES), HOLES, "16UC1"),
        ("16UC1; compressedDepth rvl", depth_header() + rvl(HOLES), HOLES, "16UC1"),
        ("32FC1; compressedDepth png", depth_header(QUANTUM, OFFSET) + encoded(".png", INVERSE),
         METRES, "32FC1"),
        ("32FC1; compressedDepth rvl", depth_header(QUANTUM, OFFSET) + rvl(INVERSE), METRES,
         "32FC1"),
    ],
)  # fmt: skip
def test_a_compressed_image_looks_like_the_raw_image(format_, data, pixels, encoding):
    found = compressed_to_bgr(data, format_).astype(int)
    # The inverse depth is rounded to 16 bits.
    assert np.abs(found - raw(pixels, encoding)).max() <= (2 if encoding == "32FC1" else 0)


def test_a_bayer_image_in_a_jpeg_is_demosaiced():
    mosaic = np.zeros((64, 64), np.uint8)
    for position, letter in enumerate("RGGB"):
        mosaic[position // 2 :: 2, position % 2 :: 2] = {"R": 220, "G": 90, "B": 30}[letter]
    data = encoded(".jpg", mosaic)
    for format_ in ("bayer_rggb8; jpeg compressed ", "BAYER_RGGB8;jpeg compressed"):
        blue, green, red = compressed_to_bgr(data, format_)[20:40, 20:40].mean(axis=(0, 1))
        assert red > green + 40 > blue + 60


def jpegs():
    """The kinds of JPEG that cameras and programs write."""
    from PIL import Image

    rgb, progressive = Image.fromarray(BLURRED[..., ::-1]), io.BytesIO()
    rgb.save(progressive, "JPEG", progressive=True)
    base = encoded(".jpg", BLURRED)
    with_thumbnail = io.BytesIO()
    rgb.save(with_thumbnail, "JPEG", exif=b"Exif\0\0" + base)
    kinds = {
        "baseline": base,
        "grey": encoded(".jpg", BLURRED[..., 0]),
        "progressive": progressive.getvalue(),
        "thumbnail": with_thumbnail.getvalue(),
        "restart": cv2.imencode(".jpg", BLURRED, [cv2.IMWRITE_JPEG_RST_INTERVAL, 2])[1].tobytes(),
        "mjpeg": without_huffman_tables(base),
    }
    return [pytest.param(data, id=name) for name, data in kinds.items()]


def without_huffman_tables(data):
    kept, position = data[:2], 2
    while data[position + 1] != 0xDA:
        end = position + 2 + int.from_bytes(data[position + 2 : position + 4], "big")
        kept += data[position:end] if data[position + 1] != 0xC4 else b""
        position = end
    return kept + data[position:]


@pytest.mark.parametrize("data", jpegs())
def test_a_jpeg_is_used_if_it_is_complete_and_refused_if_it_is_cut_off(data, tmp_path):
    whole = compressed_to_bgr(data, "jpeg")
    path = tmp_path / "a.jpg"
    for end in (b"", b"\0" * 50, b"\xff\xd9", b"\xff\xd9garbage", b"\xff", data):
        complete = data[:-2] + end
        assert np.array_equal(compressed_to_bgr(complete, "jpeg"), whole)
        path.write_bytes(complete)
        assert np.abs(images.load(path).astype(int) - whole).max() <= 2
    for share in (0.4, 0.6, 0.9):
        cut = data[: data.rindex(b"\xff\xda") + 14]
        cut += data[len(cut) : len(cut) + int(share * (len(data) - len(cut)))]
        for end in (b"", b"\xff\xd9", b"\0" * 50):
            with pytest.raises(EncodingError, match=r"jpeg.*(cut off|damaged)"):
                compressed_to_bgr(cut + end, "jpeg")
            path.write_bytes(cut + end)
            with pytest.raises(ImageError, match=r"a\.jpg: the JPEG is (cut off|damaged)"):
                images.load(path)


def test_a_png_is_used_if_it_is_complete_and_refused_if_it_is_cut_off(tmp_path):
    data, path = encoded(".png", BLURRED), tmp_path / "a.png"
    # The last 20 bytes are checksums and the end mark.
    for missing in (0, 1, 4, 12, 13, 16, 20, 21, 100, len(data) // 2):
        cut = data[: len(data) - missing]
        path.write_bytes(cut)
        if missing <= 20:
            assert np.array_equal(compressed_to_bgr(cut, "png"), BLURRED)
            assert np.array_equal(images.load(path), BLURRED)
            continue
        with pytest.raises(EncodingError, match=r"'png': the PNG is cut off"):
            compressed_to_bgr(cut, "png")
        with pytest.raises(ImageError, match=r"a\.png: the PNG is cut off"):
            images.load(path)
    flipped = bytearray(data)
    flipped[len(data) // 2] ^= 1
    path.write_bytes(flipped)
    with pytest.raises(EncodingError, match="damaged"):
        compressed_to_bgr(flipped, "png")
    with pytest.raises(ImageError, match="damaged"):
        images.load(path)


def png_with_size(width, height):
    """A PNG file whose header has a size that OpenCV does not accept."""
    data = bytearray(encoded(".png", SCENE))
    data[16:24] = struct.pack(">II", width, height)
    data[29:33] = struct.pack(">I", zlib.crc32(data[12:29]))
    return bytes(data)


@pytest.mark.parametrize(
    ("format_", "data"),
    [
        ("h264", b"\0\0\0\1gB"),
        ("jpeg", b""),
        ("jpeg", encoded(".jpg", SCENE)[:20]),
        ("png", png_with_size(60000, 60000)),
        ("16UC1; compressedDepth", depth_header() + encoded(".png", SCENE)),
        ("16UC1; compressedDepth png", depth_header() + encoded(".png", HOLES)[:900]),
        ("16UC1; compressedDepth rvl", depth_header() + rvl(HOLES)[:-40]),
        ("16UC1; compressedDepth rvl", depth_header() + b"123"),
        ("16UC1; compressedDepth", b"123"),
    ],
)
def test_compressed_bytes_that_cannot_be_decoded_are_refused(format_, data):
    with pytest.raises(EncodingError, match=format_.split(";")[0]):
        compressed_to_bgr(data, format_)
