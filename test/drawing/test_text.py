"""The letters of labels: every script has letters or an honest number, never boxes."""

import os
import shutil
import unicodedata
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import ImageFont

from deep_perception.drawing import fonts, text
from support.fonts import forget_fonts, with_letters

GREEN = (90, 220, 120)
# Of each script a label, and another one of as many letters that are all different from it.
SHIPPED = {
    "german": ("grüner Löffel", "süßer Pfirsi"),
    "polish": ("żółć", "ćśłó"),
    "turkish": ("ağaç ışığı", "şişe kuğuç"),
    "vietnamese": ("tách đỏ", "bếp lửa"),
    "czech": ("řízek", "žížaň"),
    "greek": ("κόκκινο", "πράσινο"),
    "polytonic": ("ἄνθρωπος", "ᾠδὴ οἶκος"),
    "cyrillic": ("чашка", "ложка"),
    "ukrainian": ("їжак ґанок", "єнот щітка"),
    "arabic": ("كوب أحمر", "بيت جديد"),
    "persian": ("نیم‌فنجان", "گربهٔ چاق"),
    "hebrew": ("ספל אדום", "כלב גדול"),
    "armenian": ("բաժակ", "գդալի"),
    "georgian": ("ჭიქა", "კოვზი"),
    "symbols": ("50 % ½ °C", "20 € ¾ µm"),
    "decomposed": (unicodedata.normalize("NFD", "äöü"), unicodedata.normalize("NFD", "éèê")),
}
# A letter of each script that is not in the shipped font, with the package that has it.
OTHERS = {
    "han": ("红色的杯子", "fonts-noto-cjk"),
    "japanese": ("赤いカップ", "fonts-noto-cjk"),
    "korean": ("빨간 컵", "fonts-noto-cjk"),
    "fullwidth": ("ＡＢＣ", "fonts-noto-cjk"),
    "hindi": ("लाल कप", "fonts-noto-core"),
    "bengali": ("লাল কাপ", "fonts-noto-core"),
    "tamil": ("சிவப்பு கோப்பை", "fonts-noto-core"),
    "telugu": ("కప్పు", "fonts-noto-core"),
    "thai": ("แก้วสีแดง", "fonts-noto-core"),
    "khmer": ("ពែង", "fonts-noto-core"),
    "burmese": ("ခွက်", "fonts-noto-core"),
    "amharic": ("ኩባያ", "fonts-noto-core"),
}


def pixels(label, height=24):
    return text.render(label, height, GREEN)


def boxes(count):
    """Return the pixels of a text of which no font has a character."""
    return pixels(fonts.NOT_A_CHARACTER * count)


@pytest.mark.parametrize(("one", "other"), SHIPPED.values(), ids=SHIPPED)
def test_letters_of_the_shipped_font(font_folder, caplog, one, other):
    for label in (one, other):
        drawn = text.drawable(label)
        assert unicodedata.normalize("NFC", label) == drawn
        for character in filter(str.isalpha, drawn):
            assert not np.array_equal(pixels(character), boxes(1)), character
    # Boxes would be the same whatever the letters are.
    assert not np.array_equal(pixels(text.drawable(one)), pixels(text.drawable(other)))
    assert not caplog.records


@pytest.mark.parametrize(("label", "package"), OTHERS.values(), ids=OTHERS)
def test_without_a_font_there_is_no_text_and_one_line_in_the_log(
    font_folder, caplog, label, package
):
    assert text.drawable(label) == ""
    # A part of the words could say something else.
    assert text.drawable(f"cup {label}") == ""
    assert [package in record.getMessage() for record in caplog.records] == [True]


@pytest.mark.parametrize("label", [label for label, _ in OTHERS.values()], ids=OTHERS)
def test_a_font_of_the_system_is_found_character_by_character(font_folder, caplog, label):
    codes = [ord(c) for c in label if not c.isspace()]
    for number, start in enumerate(sorted({code // 256 * 256 for code in codes})):
        (font_folder / "deeper" / f"Letters{number}.ttf").write_bytes(with_letters(start, 256))
    drawn = text.drawable(label)
    assert drawn == unicodedata.normalize("NFC", label)
    mixed = text.drawable(f"cup {label}")
    assert not np.array_equal(pixels(drawn), boxes(len(drawn)))
    assert pixels(mixed).shape[1] > pixels(drawn).shape[1] > 20
    assert not caplog.records


@pytest.mark.parametrize(
    ("label", "drawn"),
    [
        # Symbols that no font has are left out, because the words are complete without them.
        ("apple 🍎", "apple"),
        ("🍎🍏 two apples 👍🏽", "two apples"),
        ("family 👨‍👩‍👧 of 🇩🇪", "family of"),
        ("a \U0001fadf new emoji", "a new emoji"),
        ("🍎", ""),
        # The shipped font has some symbols.
        ("☕ coffee", "☕ coffee"),
        # What could not be seen, or would turn the text round, is left out.
        ("red\tcup\r\nfull\u00a0", "red cup full"),
        ("\u202epuc der\u202c", "puc der"),
        ("\u2067cup\u2069\u200b\ufeff", "cup"),
        ("Kaffee\u00adtasse", "Kaffeetasse"),
        ("nul\x00 bell\x07 esc\x1b", "nul bell esc"),
        ("private \ue000 use \U000f0000", "private use"),
        ("half \ud800 a pair", "half a pair"),
        ("", ""),
    ],
)
def test_what_is_drawn(font_folder, label, drawn):
    assert text.drawable(label) == drawn
    if drawn:
        pixels(drawn)


def test_an_emoji_in_colour(font_folder):
    # The system's own font of emoji, where there is one.
    found = sorted(
        path
        for top in (Path("/usr/share/fonts"), Path.home() / ".local/share/fonts")
        for path in top.rglob("*[Ee]moji*.ttf")
    )
    if not found:
        pytest.skip("no font of emoji is installed (fonts-noto-color-emoji)")
    shutil.copy(found[0], font_folder)
    drawn = text.drawable("red 🍎")
    assert drawn == "red 🍎"
    assert len(np.unique(pixels(drawn).reshape(-1, 3), axis=0)) > 60


@pytest.mark.parametrize("content", [b"", b"\0" * 64, b"OTTO" + b"\xff" * 60, "a cut font"])
def test_a_broken_font_file_is_passed_over(font_folder, content):
    if isinstance(content, str):
        content = with_letters(0x4E00)[:200_000]
    (font_folder / "Broken.ttf").write_bytes(content)
    (font_folder / "Letters.otf").write_bytes(with_letters(0x4E00))
    (font_folder / "gone.ttf").symlink_to(font_folder / "nowhere")
    (font_folder / "LastResort.ttf").write_bytes(with_letters(0x0900))
    assert text.drawable("一丁") == "一丁"
    assert text.drawable("ऄ") == ""


def test_the_folders_of_fonts(monkeypatch, tmp_path):
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "own"))
    monkeypatch.setenv("XDG_DATA_DIRS", f"/opt/data:{tmp_path}:")
    folders = fonts.font_folders()
    assert tmp_path / "own" / "fonts" in folders
    assert tmp_path / "fonts" in folders
    assert Path("/usr/share/fonts") in folders
    for name in ("XDG_DATA_HOME", "XDG_DATA_DIRS"):
        monkeypatch.delenv(name)
    assert Path(os.environ["HOME"]) / ".local/share/fonts" in fonts.font_folders()


def test_right_to_left(font_folder):
    """The first letter of a Hebrew word is at its right end, with and without libraqm."""
    word = pixels(text.drawable("אשששש"), 40).astype(int)

    def like(letter):
        alone = pixels(letter, 40).astype(int)
        return [np.abs(word[:, part] - alone[:, part]).mean() for part in (np.s_[-28:], np.s_[:28])]

    (aleph_right, aleph_left), (shin_right, shin_left) = like("א"), like("ש")
    assert aleph_right < shin_right
    assert shin_left < aleph_left


def test_without_libraqm(font_folder, monkeypatch, caplog):
    monkeypatch.setattr(ImageFont.core, "HAVE_RAQM", False)
    forget_fonts()
    test_right_to_left(font_folder)
    assert text.drawable("كوب أحمر") == "كوب أحمر"
    assert ["libfribidi0" in record.getMessage() for record in caplog.records] == [True]
    pixels("D1 كوب أحمر")


@pytest.mark.parametrize("label", ["a red cup on a wooden table by the window", "чашка " * 9,
                                   "كوب أحمر " * 8, "نیم‌فنجان " * 8])  # fmt: skip
def test_long_labels_are_shortened_between_letters(font_folder, label):
    label = text.drawable(label)
    for room in (60, 90, 120, 200):
        short = text.shorten(label, room, 20)
        assert short.endswith("…")
        assert label.startswith(short[:-1])
        assert text.width_of(short, 20) <= room
        assert pixels(short, 20).shape[:2] == (20, text.width_of(short, 20))
    assert text.shorten(label, 5000, 20) == label
    assert text.shorten(label, 3, 20) == ""


def test_letters_are_not_separated_from_their_marks():
    for label, units in (
        ("e\u0301a", ["e\u0301", "a"]),
        ("क्षत्रि", ["क्ष", "त्रि"]),
        ("น้ำ", ["น้", "ำ"]),
        ("👨‍👩‍👧x", ["👨‍👩‍👧", "x"]),
        ("🇩🇪🇫🇷", ["🇩🇪", "🇫🇷"]),
        ("👍🏽!", ["👍🏽", "!"]),
    ):
        assert text.split(label) == units


@given(st.text(max_size=40), st.integers(8, 80))
@settings(max_examples=60, deadline=None)
def test_any_text_can_be_drawn(label, height):
    drawn = text.drawable(label)
    tile = pixels(f"D1 {drawn}".rstrip(), height)
    assert tile.shape[0] == height
    assert len(drawn.splitlines()) <= 1
