"""One line of text in any script, as pixels: fonts by character, right-to-left, marks, emoji."""

from __future__ import annotations

import functools
import logging
import unicodedata
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby

import numpy as np
from PIL import Image, ImageDraw, features

from deep_perception.drawing import fonts
from deep_perception.drawing.fonts import Face
from deep_perception.images import BgrImage

Color = tuple[int, int, int]
DARK_INK: Color = (20, 20, 20)
LIGHT_INK: Color = (250, 250, 250)
ELLIPSIS = "…"
ZWNJ, ZWJ, EMOJI_STYLE = "\u200c", "\u200d", "\ufe0f"
# Fonts have glyphs for the characters around these, not for them.
INVISIBLE = frozenset((ZWNJ, ZWJ, "\ufe0e", EMOJI_STYLE))
# The Debian and Ubuntu packages with the letters of a script, by the first word of their names in
# Unicode; those of all others are in OTHER_PACKAGE.
PACKAGES = dict.fromkeys(
    ("CJK", "HIRAGANA", "KATAKANA", "KATAKANA-HIRAGANA", "HANGUL", "BOPOMOFO", "HALFWIDTH",
     "FULLWIDTH", "IDEOGRAPHIC"),
    "fonts-noto-cjk",
)  # fmt: skip
OTHER_PACKAGE, EMOJI_PACKAGE = "fonts-noto-core", "fonts-noto-color-emoji"

_log = logging.getLogger(__name__)
# What the log has said; it is not said again.
reported: set[str] = set()


@dataclass(frozen=True)
class Run:
    """Neighbouring characters with one font."""

    text: str
    face: Face
    right_to_left: bool


def drawable(text: str) -> str:
    """The text as it can be drawn, on one line; "" if no font has one of its letters.

    Then the log says once which package has a font. Emoji and other symbols
    that no font has are left out, because the words are complete without them.
    """
    clusters = split(clean(text))
    lost = [cluster for cluster in clusters if not cluster.isspace() and _face_of(cluster) is None]
    for cluster in lost:
        _report(cluster)
    if not _has_raqm() and any(_needs_shaping(cluster) for cluster in clusters):
        _once(
            "labels: Pillow cannot join letters without libraqm and libfribidi: Arabic and Indic "
            "letters stand one by one (Debian and Ubuntu: sudo apt install libfribidi0)",
            about="libfribidi0",
        )
    if any(not _is_symbol(cluster) for cluster in lost):
        return ""
    return " ".join("".join(cluster for cluster in clusters if cluster not in lost).split())


def shorten(text: str, room: int, height: int) -> str:
    """The text, or as much of its beginning as fits with "…" into ``room`` pixels, or ""."""
    if width_of(text, height) <= room:
        return text
    clusters = split(text)
    low, high = 0, len(clusters)
    while low < high:
        middle = (low + high + 1) // 2
        fits = width_of("".join(clusters[:middle]).rstrip() + ELLIPSIS, height) <= room
        low, high = (middle, high) if fits else (low, middle - 1)
    return "".join(clusters[:low]).rstrip() + ELLIPSIS if low else ""


@functools.lru_cache(maxsize=4096)
def width_of(text: str, height: int) -> int:
    """The width in px of the tile of ``render``."""
    size = _size(text, height)
    return round(sum(_length(run, size) for run in _runs(text))) + 2 * _padding(height)


@functools.lru_cache(maxsize=512)
def render(text: str, height: int, color: Color) -> BgrImage:
    """A text of ``drawable``, with padding, on a plain background of a BGR ``color``.

    Returns HxWx3 BGR with H equal to ``height``, in px.
    """
    size, padding = _size(text, height), _padding(height)
    tile = Image.new("RGB", (width_of(text, height), height), color[::-1])
    # The weights are those of Rec. 601 luma, in BGR order.
    luma = 0.114 * color[0] + 0.587 * color[1] + 0.299 * color[2]
    ink = DARK_INK if luma > 110 else LIGHT_INK
    runs = _runs(text)
    top, bottom = _extent(runs, size)
    baseline, x = round((height - (top + bottom)) / 2), float(padding)
    for run in runs:
        _draw(tile, run, (round(x), baseline), size, ink)
        x += _length(run, size)
    return np.ascontiguousarray(np.asarray(tile, np.uint8)[:, :, ::-1])


def clean(text: str) -> str:
    """The text on one line in NFC, without controls, directional overrides and private use."""
    composed = unicodedata.normalize("NFC", text)
    kept = (" " if c.isspace() else c for c in composed if c.isspace() or _is_visible(c))
    return " ".join("".join(kept).split())


def split(text: str) -> list[str]:
    """The text in units that must not be separated: letters with marks, conjuncts, emoji.

    A short form of the extended grapheme clusters of Unicode Standard Annex 29.
    """
    clusters: list[str] = []
    for character in text:
        if clusters and _belongs(clusters[-1], character):
            clusters[-1] += character
        else:
            clusters.append(character)
    return clusters


def _belongs(cluster: str, character: str) -> bool:
    last = cluster[-1]
    if last.isspace():
        return False
    mark = unicodedata.category(character).startswith("M") or character in INVISIBLE
    skin = "\U0001f3fb" <= character <= "\U0001f3ff" or "\U000e0020" <= character <= "\U000e007f"
    flags = _is_flag_half(cluster) and _is_flag_half(character)
    # A virama (combining class 9) or a joiner connects two letters.
    joined = last == ZWJ or (
        unicodedata.combining(last) == 9 and unicodedata.category(character).startswith("L")
    )
    return mark or skin or flags or joined


def _is_flag_half(text: str) -> bool:
    return len(text) == 1 and "\U0001f1e6" <= text <= "\U0001f1ff"


def _is_visible(character: str) -> bool:
    if character in INVISIBLE or "\U000e0020" <= character <= "\U000e007f":
        return True
    return unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co")


def _is_symbol(cluster: str) -> bool:
    # Python may be older than an emoji and not know its category.
    newer = "\U0001f000" <= cluster[0] <= "\U0001faff"
    return newer or unicodedata.category(cluster[0])[0] == "S" or cluster[0] in INVISIBLE


@functools.lru_cache(maxsize=4096)
def _face_of(cluster: str) -> Face | None:
    """The face that has every visible character of a cluster."""
    visible = [c for c in cluster if c not in INVISIBLE and ord(c) < 0xE0000]
    if not visible:
        return None
    first = fonts.face_for(visible[0])
    if EMOJI_STYLE in cluster or first is None or len(visible) > 1:
        faces = (*([first] if first else []), fonts.shipped_face(), *fonts.system_faces())
        if EMOJI_STYLE in cluster:
            faces = (*(face for face in faces if face.emoji), *faces)
        return next((face for face in faces if all(map(face.draws, visible))), None)
    return first


def _runs(text: str) -> list[Run]:
    """The runs of a text from left to right."""
    pieces: list[tuple[str, Face, bool]] = []
    shapes_itself = _has_raqm()
    for cluster in split(text):
        face, rtl = _face_of(cluster), _is_rtl(cluster)
        if pieces and _is_neutral(cluster) and not pieces[-1][1].emoji:
            # Spaces and punctuation stay with the words before them where that font has them.
            _, last, last_rtl = pieces[-1]
            if cluster.isspace() or all(map(last.draws, cluster)):
                face, rtl = last, last_rtl
        pieces.append((cluster, face or fonts.shipped_face(), rtl))
    # Raqm orders the characters of a run, so that only a change of the font ends one.
    grouped = groupby(pieces, key=lambda each: (each[1], False if shapes_itself else each[2]))
    runs = []
    for (face, _), group in grouped:
        of_run = list(group)
        rtl = any(each[2] for each in of_run)
        clusters = [each[0] for each in of_run]
        if rtl and not shapes_itself:
            clusters.reverse()
        runs.append(Run("".join(clusters), face, rtl))
    return _in_visual_order(runs, next((rtl for c, _, rtl in pieces if not _is_neutral(c)), False))


def _in_visual_order(runs: Sequence[Run], base_rtl: bool) -> list[Run]:
    ordered: list[Run] = []
    for rtl, group in groupby(runs, key=lambda run: run.right_to_left):
        same = list(group)
        # What runs against the line is turned round in itself.
        ordered += same[::-1] if rtl != base_rtl else same
    return ordered[::-1] if base_rtl else ordered


def _is_rtl(cluster: str) -> bool:
    return unicodedata.bidirectional(cluster[0]) in ("R", "AL")


def _is_neutral(cluster: str) -> bool:
    return unicodedata.bidirectional(cluster[0]) in ("WS", "ON", "CS", "ES", "ET", "EN", "NSM")


def _needs_shaping(cluster: str) -> bool:
    code = ord(cluster[0])
    indic = 0x0900 <= code < 0x0E00 or 0x0F00 <= code < 0x10A0 or 0x1780 <= code < 0x1800
    return indic or unicodedata.bidirectional(cluster[0]) == "AL"


@functools.cache
def _has_raqm() -> bool:
    return bool(features.check("raqm"))


def _padding(height: int) -> int:
    return max(2, height // 5)


def _size(text: str, height: int) -> int:
    """The font size that uses the height; scripts with marks above and below get a smaller one."""
    size = max(6, round(height * 0.72))
    top, bottom = _extent(_runs(text), size)
    room = height - 2
    return size if bottom - top <= room else max(6, int(size * room / (bottom - top)))


def _extent(runs: Iterable[Run], size: int) -> tuple[float, float]:
    """Top and bottom relative to the baseline; at least those of Latin capitals."""
    boxes = [(-0.73 * size, 0.0)]
    for run in runs:
        font, scale = run.face.sized(size)
        _, top, _, bottom = font.getbbox(run.text, anchor="ls")
        boxes.append((top * scale, bottom * scale))
    return min(top for top, _ in boxes), max(bottom for _, bottom in boxes)


def _length(run: Run, size: int) -> float:
    font, scale = run.face.sized(size)
    return float(font.getlength(run.text)) * scale


def _draw(tile: Image.Image, run: Run, at: tuple[int, int], size: int, ink: Color) -> None:
    font, scale = run.face.sized(size)
    if not run.face.emoji:
        ImageDraw.Draw(tile).text(at, run.text, fill=ink, font=font, anchor="ls")
        return
    left, top, right, bottom = (round(edge) for edge in font.getbbox(run.text, anchor="ls"))
    if right <= left or bottom <= top:
        return
    layer = Image.new("RGBA", (right - left, bottom - top), (*ink, 0))
    ImageDraw.Draw(layer).text(
        (-left, -top), run.text, fill=(*ink, 255), font=font, anchor="ls", embedded_color=True
    )
    width, height = (max(1, round(edge * scale)) for edge in layer.size)
    layer = layer.resize((width, height), Image.Resampling.LANCZOS) if scale != 1 else layer
    tile.paste(layer, (at[0] + round(left * scale), at[1] + round(top * scale)), layer)


def _report(cluster: str) -> None:
    """Say once for each package of fonts that it is missing."""
    first = next((c for c in cluster if c not in INVISIBLE), cluster[0])
    symbol = _is_symbol(cluster)
    script = unicodedata.name(first, "UNKNOWN").split()[0]
    package = EMOJI_PACKAGE if symbol else PACKAGES.get(script, OTHER_PACKAGE)
    instead = "it is left out" if symbol else "the numbers of the regions are drawn instead"
    _once(
        f"labels: no font has {first} (U+{ord(first):04X}), so {instead}; install one and start "
        f"again (Debian and Ubuntu: sudo apt install {package})",
        about=package,
    )


def _once(message: str, *, about: str) -> None:
    if about not in reported:
        reported.add(about)
        _log.warning("%s", message)
