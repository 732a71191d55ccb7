"""An image file of others costs no more than an image, and reaches few decoders."""

import os
import struct
import threading
import zlib

import cv2
import numpy as np
import pytest
from PIL import Image

from deep_perception import images
from deep_perception.images import ImageError
from deep_perception.images.folders import images_in
from support import hostile_images as hostile

BOMBS = {name: bomb for name, bomb in hostile.bombs().items() if "16 bits" not in name}


def jp2(width, height):
    """A JPEG 2000 file of 10x10 pixels by its box, and of another size by its codestream."""
    boxes = b"\0\0\0\x0cjP  \r\n\x87\n\0\0\0\x14ftypjp2 \0\0\0\0jp2 \0\0\0\x2djp2h"
    boxes += b"\0\0\0\x16ihdr" + struct.pack(">IIHBBBB", 10, 10, 3, 7, 7, 0, 0)
    boxes += b"\0\0\0\x0fcolr\1\0\0\0\0\0\x10\0\0\0\0jp2c\xff\x4f\xff\x51\0\x2f\0\0"
    size = struct.pack(">8I", width, height, 0, 0, width, height, 0, 0)
    return boxes + size + b"\0\3" + b"\7\1\1" * 3


FILES = {
    **BOMBS,
    "a tiff": (hostile.tiff(30_000, 30_000), "too large"),
    "a tile": (hostile.tiff(9, 9, bytes(81), more=[(322, 4, 1, 65_536), (323, 4, 1, 65_536)]),
               "too large"),
    "tags": (hostile.overlapping(60_000, 5_000_000), "the TIFF is damaged"),
    "tags of pixels": (
        hostile.tiff(9, 9, bytes(2_000_000),
                     more=[(tag, 7, 1_500_000, 8) for tag in (266, 292, 320, 338)]),
        "the TIFF is damaged",
    ),
    "a deflated strip": (
        hostile.tiff(99, 99, hostile.zeros(200_000_000), bits=16, compression=8), "TIFF",
    ),
    "a short tiff": (hostile.tiff(9000, 9000, b"abc", compression=5), "cut off"),
    # Of 12000x12000 pixels, which take two canvases.
    "a canvas": (
        b"RIFF\x3c\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xdf\x2e\0\xdf\x2e\0ANMF".ljust(80, b"\0"),
        "too large",
    ),
    "radiance": (b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 20000 +X 20000\n", "too large"),
    "radiance with a comment": (
        b"#?RADIANCE\n# -Y 2 +X 2\nFORMAT=32-bit_rle_rgbe\n\n-Y 6000 +X 6000\n", "cut off",
    ),
    "floats": (b"PF\n8000 8000\n-1.0\n", "cut off"),
    "jpeg 2000": (jp2(60_000, 60_000), "too large"),
    "bmp": (b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 60_000, 60_000, 1, 24,
                                *(0,) * 6), "too large"),
    "gif": (b"GIF89a" + struct.pack("<HHBBB", 65_535, 65_535, 0, 0, 0) + b","
            + struct.pack("<HHHHB", 0, 0, 65_535, 65_535, 0) + b"\2\2\x44\1\0;", "too large"),
    "ppm": (b"P6 60000 60000 255\n", "too large"),
    # These formats start programs, or are forgotten.
    "eps": (b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n%%EndComments\n", "unknown format"),
    "psd": (b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 9, 9, 8, 3) + bytes(99),
            "unknown format"),
    "icns": (b"icns\0\0\0\x64" + bytes(92), "unknown format"),
    "fli": (bytes(4) + b"\x11\xaf" + bytes(200), "unknown format"),
}  # fmt: skip


@pytest.mark.parametrize("name", FILES)
def test_a_file_is_refused_from_its_header(tmp_path, name):
    data, said = FILES[name]
    path = tmp_path / "a.png"
    path.write_bytes(data)
    with pytest.raises(ImageError, match=said) as caught:
        images.load(path)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "tags"),
    [("a.jpg", "exif"), ("a.jpg", "xmp"), ("a.png", "exif"), ("a.png", "text"), ("a.tif", "exif"),
     ("a.webp", "exif")],
)  # fmt: skip
def test_a_photograph_is_turned_whatever_says_so(tmp_path, name, tags):
    path, exif = tmp_path / name, Image.Exif()
    exif[0x0112] = 6
    picture = Image.new("RGB", (60, 40))
    if tags == "exif":
        picture.save(path, exif=exif)
    else:
        picture.save(path)
        data = path.read_bytes()
        if tags == "xmp":
            xmp = b'http://ns.adobe.com/xap/1.0/\0<rdf:Description tiff:Orientation="6"/>'
            data = data[:2] + hostile.segment(0xE1, xmp) + data[2:]
        else:
            digits = exif.tobytes().hex()
            text = zlib.compress(f"\nexif\n{len(digits) // 2:8}\n{digits}\n".encode())
            profile = hostile.chunk(b"zTXt", b"Raw profile type exif\0\0" + text)
            data = data[:33] + profile + data[33:]
        path.write_bytes(data)
    loaded = images.read(path)
    assert (loaded.pixels.shape[:2], loaded.exif_orientation) == ((60, 40), 6)


@pytest.mark.parametrize("compression", ["raw", "tiff_lzw", "tiff_adobe_deflate", "packbits",
                                         "jpeg"])  # fmt: skip
@pytest.mark.parametrize("mode", ["RGB", "L", "RGBA", "P", "I;16"])
def test_honest_tiff_files_are_read(tmp_path, compression, mode):
    path = tmp_path / "a.tif"
    rng = np.random.default_rng(2)
    if mode == "I;16":
        picture = Image.fromarray(rng.integers(0, 65_535, (40, 60)).astype(np.uint16))
    else:
        picture = Image.fromarray(rng.integers(0, 255, (40, 60, 3), np.uint8)).convert(mode)
    try:
        picture.save(path, compression=compression)
    except (OSError, RuntimeError):
        pytest.skip("this version of Pillow does not write it")
    assert images.load(path).shape == (40, 60, 3)


def test_the_limit_of_pillow_is_left_alone(tmp_path, monkeypatch):
    path = tmp_path / "a.png"
    Image.new("RGB", (300, 200)).save(path)
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    seen = set()
    ended = threading.Event()

    def watch():
        while not ended.is_set():
            seen.add(Image.MAX_IMAGE_PIXELS)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        # The user's program may limit its own images; here the package's limit counts.
        for _ in range(20):
            assert images.load(path).shape == (200, 300, 3)
    finally:
        ended.set()
        thread.join()
    assert seen == {1000}


@pytest.mark.parametrize("path", ["/dev/zero", "/dev/full"])
def test_a_device_is_refused(path):
    from pathlib import Path

    with pytest.raises(ImageError, match="is no regular file"):
        images.load(Path(path))


def test_a_file_that_is_larger_than_any_image_is_not_read(tmp_path):
    path = tmp_path / "a.png"
    with path.open("wb") as file:
        file.truncate(10**11)
    with pytest.raises(ImageError, match="is larger than 800 MB"):
        images.load(path)


def test_a_name_does_not_change_the_terminal(tmp_path):
    path = tmp_path / "a\x1b[2J\n.png"
    path.write_bytes(b"no image")
    with pytest.raises(ImageError, match=r"a\\x1b\[2J\\n\.png: not an image"):
        images.load(path)


def test_links_that_lead_nowhere_and_pipes_are_no_images_of_a_folder(tmp_path):
    cv2.imwrite(str(tmp_path / "a.png"), hostile.NOISE)
    os.mkfifo(tmp_path / "b.png")
    (tmp_path / "c.png").symlink_to("c.png")
    (tmp_path / "d.png").symlink_to("gone.png")
    (tmp_path / "e.png").symlink_to("x" * 300)
    (tmp_path / "f.png").symlink_to("/dev/zero")
    (tmp_path / "g.png").symlink_to("a.png")
    assert [path.name for path in images_in(tmp_path)] == ["a.png", "g.png"]
