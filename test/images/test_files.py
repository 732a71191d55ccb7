"""Image files of many kinds: each gives the right image or an error of one line."""

import struct
import zlib

import cv2
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from deep_perception import images
from deep_perception.images import ImageError

LEFT, RIGHT = (220, 40, 30), (30, 90, 200)  # RGB values of the halves of a 40 x 20 image.


def halves():
    """An image of two colours."""
    rgb = np.zeros((20, 40, 3), np.uint8)
    rgb[:, :20], rgb[:, 20:] = LEFT, RIGHT
    return Image.fromarray(rgb)


def assert_halves(image, tolerance=0):
    assert image.shape == (20, 40, 3)
    assert image.dtype == np.uint8
    for column, rgb in ((5, LEFT), (35, RIGHT)):
        assert np.abs(image[10, column, ::-1].astype(int) - rgb).max() <= tolerance


@pytest.mark.parametrize(
    ("name", "tolerance"),
    [("a.png", 0), ("a.bmp", 0), ("a.tif", 0), ("a.jpg", 6), ("a.webp", 40), ("a.ppm", 0)],
)
def test_every_format_is_read(tmp_path, name, tolerance):
    path = tmp_path / name
    halves().save(path)
    assert_halves(images.load(path), tolerance)


def test_cmyk_keeps_its_colours(tmp_path):
    path = tmp_path / "a.jpg"
    halves().convert("CMYK").save(path, quality=95)
    assert_halves(images.load(path), tolerance=12)


def test_a_palette_keeps_its_colours(tmp_path):
    path = tmp_path / "a.png"
    halves().convert("P", palette=Image.Palette.ADAPTIVE).save(path)
    assert_halves(images.load(path), tolerance=4)


def test_transparency_is_composited_over_white(tmp_path):
    path = tmp_path / "a.png"
    transparent = halves().convert("RGBA")
    transparent.putalpha(
        Image.fromarray(np.repeat([[255] * 20 + [0] * 20], 20, 0).astype(np.uint8))
    )
    transparent.save(path)
    image = images.load(path)
    assert image[10, 5].tolist() == list(LEFT[::-1])
    assert image[10, 35].tolist() == [255, 255, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_exif_orientation_is_applied(tmp_path, orientation):
    path = tmp_path / "a.png"
    shown = halves()
    undo = {
        2: Image.Transpose.FLIP_LEFT_RIGHT,
        3: Image.Transpose.ROTATE_180,
        4: Image.Transpose.FLIP_TOP_BOTTOM,
        5: Image.Transpose.TRANSPOSE,
        6: Image.Transpose.ROTATE_90,
        7: Image.Transpose.TRANSVERSE,
        8: Image.Transpose.ROTATE_270,
    }
    stored = shown.transpose(undo[orientation]) if orientation in undo else shown
    exif = Image.Exif()
    exif[0x0112] = orientation
    stored.save(path, exif=exif)
    assert_halves(images.load(path))


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_16_bit_grey_is_scaled_not_clipped(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    cv2.imwrite(str(path), np.array([[0, 257 * 100, 65535]], np.uint16))
    assert images.load(path)[0, :, 0].tolist() == [0, 100, 255]


def test_a_16_bit_image_that_uses_12_bits_is_stretched(tmp_path):
    path = tmp_path / "a.png"
    cv2.imwrite(str(path), np.array([[0, 300, 2340]], np.uint16))
    loaded = images.read(path)
    missing, dark, bright = loaded.pixels[0, :, 0].astype(int).tolist()
    assert missing == 0 and dark > 0 and bright - dark > 150
    assert loaded.intensity_range.low < 300 and loaded.intensity_range.high > 2340


@pytest.mark.parametrize("extension", [".png", ".tif"])
def test_16_bit_colour_is_scaled(tmp_path, extension):
    path = tmp_path / f"a{extension}"
    bgr = np.array([[[257 * 10, 257 * 100, 65535]]], np.uint16)
    cv2.imwrite(str(path), bgr)
    assert images.load(path)[0, 0].tolist() == [10, 100, 255]


def test_the_first_frame_of_an_animation_is_used(tmp_path):
    path = tmp_path / "a.gif"
    halves().save(path, save_all=True, append_images=[Image.new("RGB", (40, 20), "green")])
    assert_halves(images.load(path), tolerance=12)


def test_an_image_of_one_pixel(tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (1, 1), (1, 2, 3)).save(path)
    assert images.load(path).tolist() == [[[3, 2, 1]]]


def png_header_of(width, height):
    """A PNG file that has a header only."""
    body = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    chunk = struct.pack(">I", 13) + body + struct.pack(">I", zlib.crc32(body))
    return b"\x89PNG\r\n\x1a\n" + chunk + struct.pack(">I", 0) + b"IDAT" + b"\0\0\0\0"


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (None, r"a\.png: cannot be read \(No such file or directory\)"),
        (b"", r"a\.png: is empty \(0 bytes\)"),
        (b"no image", r"a\.png: not an image, or of an unknown format"),
        (b"\x89PNG\r\n\x1a\n\0\0", r"a\.png: "),
        (png_header_of(30_000, 20_000), r"a\.png: too large \(30000x20000 pixels, at most"),
    ],
)
def test_an_unreadable_file_gives_an_error_of_one_line_with_its_name(tmp_path, content, message):
    path = tmp_path / "a.png"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ImageError, match=message) as caught:
        images.load(path)
    assert "\n" not in str(caught.value)


def test_a_truncated_file_is_a_broken_image(tmp_path):
    path = tmp_path / "a.jpg"
    Image.effect_noise((200, 200), 80).save(path)
    path.write_bytes(path.read_bytes()[:3000])
    with pytest.raises(ImageError, match=r"a\.jpg: the JPEG is cut off"):
        images.load(path)


def test_an_image_with_broken_metadata_is_read_without_a_warning(tmp_path, recwarn):
    path = tmp_path / "a.jpg"
    halves().save(path, quality=95, exif=b"Exif\0\0II*\0\x08\0\0\0\x05\0\x12\x01\x99\x99")
    assert images.load(path).shape == (20, 40, 3)
    assert not recwarn.list


def test_a_header_with_a_huge_size_gives_an_error_of_one_line(tmp_path):
    path = tmp_path / "a.hdr"
    path.write_bytes(b"#?RADIANCE\nFORMAT=32-bit_rle_rgbe\n\n-Y 60000 +X 60000\n")
    with pytest.raises(ImageError) as caught:
        images.load(path)
    assert "\n" not in str(caught.value)


def test_the_error_for_a_folder_says_so(tmp_path):
    with pytest.raises(ImageError, match="is a folder"):
        images.load(tmp_path)


@pytest.mark.parametrize(
    ("size", "fitted"),
    [
        # An image is never enlarged.
        ((100, 50), (100, 50)),
        ((640, 480), (640, 480)),
        # The tighter side determines the scale.
        ((1920, 1080), (640, 360)),
        ((1000, 2000), (240, 480)),
        # A side has at least one pixel.
        ((20_000, 3), (640, 1)),
    ],
)
def test_fitted_size(size, fitted):
    assert images.fitted_size(*size, 640, 480) == fitted


@given(st.integers(1, 30_000), st.integers(1, 30_000), st.integers(16, 900), st.integers(16, 900))
def test_fitted_size_fits_and_keeps_the_aspect(width, height, max_width, max_height):
    fitted_width, fitted_height = images.fitted_size(width, height, max_width, max_height)
    assert 1 <= fitted_width <= min(width, max_width)
    assert 1 <= fitted_height <= min(height, max_height)
    scale = min(max_width / width, max_height / height, 1)
    assert abs(fitted_width - width * scale) <= 1
    assert abs(fitted_height - height * scale) <= 1
