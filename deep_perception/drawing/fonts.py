"""The fonts of the labels: DejaVu Sans, which comes with the package, then those of the system.

A character is drawn with the first font that has a glyph for it. The fonts of the system are looked
for only when a character is not in DejaVu Sans (Latin, Greek, Cyrillic, Arabic, Hebrew and more).
"""

from __future__ import annotations

import functools
import os
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import ImageFont

SHIPPED = Path(__file__).parent / "font" / "DejaVuSans.ttf"
ENDINGS = (".ttf", ".otf", ".ttc", ".otc")
# Their glyphs are boxes that only name the script.
NO_LETTERS = ("lastresort", "adobeblank", "fallback")
STYLES = ("bold", "italic", "oblique", "black", "heavy", "medium", "light", "thin")
# The only sizes (px) of colour fonts that consist of bitmaps: Noto Color Emoji, Apple Color Emoji.
BITMAP_SIZES = (109, 136, 128, 160, 96, 64)
# No font has a glyph for this noncharacter, so it is drawn as .notdef, mostly an empty box.
NOT_A_CHARACTER = "\U0010ffff"
TRIAL_SIZE = 24


@dataclass(frozen=True)
class Face:
    """The first face of a font file. ``ranges`` are Nx2, the first and last code points."""

    path: Path
    ranges: NDArray[np.int64]

    def __hash__(self) -> int:
        return hash(self.path)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Face) and self.path == other.path

    @property
    def emoji(self) -> bool:
        """Whether it is a font of emoji, which may be in colour."""
        return "emoji" in self.path.name.lower()

    def sized(self, size: int) -> tuple[ImageFont.FreeTypeFont, float]:
        """The font of a size in px, and the factor by which its result is to be scaled.

        Raises OSError if Pillow cannot use the file.
        """
        return _sized(self.path, size)

    def draws(self, character: str) -> bool:
        """Whether the face has a glyph for the character that is neither empty nor .notdef."""
        return self._lists(ord(character)) and _drawn(self.path, character)

    def _lists(self, code: int) -> bool:
        at = int(np.searchsorted(self.ranges[:, 0], code, side="right")) - 1
        return at >= 0 and code <= int(self.ranges[at, 1])


@functools.lru_cache(maxsize=4096)
def face_for(character: str) -> Face | None:
    """The first face that has a glyph for a visible character, or None."""
    shipped = shipped_face()
    # An emoji of DejaVu Sans is drawn if there is no font of emoji.
    if ord(character) < 0x1F000 and shipped.draws(character):
        return shipped
    faces = system_faces()
    if ord(character) >= 0x1F000:
        faces = (*(face for face in faces if face.emoji), shipped, *faces)
    return next((face for face in faces if face.draws(character)), None)


@functools.cache
def shipped_face() -> Face:
    """The face of DejaVu Sans."""
    return Face(SHIPPED, _ranges(SHIPPED))


@functools.cache
def system_faces() -> tuple[Face, ...]:
    """The faces of the system's font files, plain sans-serif ones first."""
    files = {
        Path(folder) / name
        for top in font_folders()
        for folder, _, names in os.walk(top)
        for name in names
        if name.lower().endswith(ENDINGS) and not name.lower().startswith(NO_LETTERS)
    }
    faces = (_face(path) for path in sorted(files, key=_preference))
    return tuple(face for face in faces if face is not None)


def font_folders() -> list[Path]:
    """The folders where the operating system and the user keep fonts; some may not exist."""
    home = Path.home() if os.environ.get("HOME") or sys.platform == "win32" else Path("/")
    if sys.platform == "win32":
        windows = Path(os.environ.get("WINDIR", "C:/Windows"))
        return [home / "AppData/Local/Microsoft/Windows/Fonts", windows / "Fonts"]
    if sys.platform == "darwin":
        return [home / "Library/Fonts", Path("/Library/Fonts"), Path("/System/Library/Fonts")]
    data_home = os.environ.get("XDG_DATA_HOME") or str(home / ".local/share")
    data = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
    folders = [data_home, *filter(None, data.split(":")), "/usr/local/share", "/usr/share"]
    return [home / ".fonts", *(Path(folder) / "fonts" for folder in dict.fromkeys(folders))]


def _preference(path: Path) -> tuple[bool, bool, bool, str]:
    name = path.name.lower()
    styled = any(word in name for word in STYLES)
    other = any(word in name for word in ("serif", "mono", "condensed", "math", "display"))
    return styled, other, "sans" not in name, str(path)


def _face(path: Path) -> Face | None:
    try:
        ranges = _ranges(path)
        _sized(path, TRIAL_SIZE)
    except (OSError, ValueError, IndexError, OverflowError):
        return None  # A font that is damaged, or of a format that Pillow or this file cannot read.
    return Face(path, ranges) if len(ranges) else None


@functools.lru_cache(maxsize=64)
def _sized(path: Path, size: int) -> tuple[ImageFont.FreeTypeFont, float]:
    try:
        return ImageFont.truetype(str(path), size), 1.0
    except OSError:
        for bitmap_size in BITMAP_SIZES:
            try:
                return ImageFont.truetype(str(path), bitmap_size), size / bitmap_size
            except OSError:
                continue
        raise


@functools.lru_cache(maxsize=4096)
def _drawn(path: Path, character: str) -> bool:
    try:
        font, _ = _sized(path, TRIAL_SIZE)
        glyph, missing = (font.getmask(each, "L") for each in (character, NOT_A_CHARACTER))
    except OSError:
        return False
    # A mark such as a vowel sign may have no width of its own, but it has pixels.
    return glyph.getbbox() is not None and (glyph.size, bytes(glyph)) != (
        missing.size,
        bytes(missing),
    )


def _ranges(path: Path) -> NDArray[np.int64]:
    """The code points that a file's first face has, sorted, as Nx2 first and last.

    Reads the table ``cmap`` of the OpenType specification, formats 4 and 12, because Pillow cannot
    tell which characters a font has. Raises OSError, ValueError or IndexError.
    """
    with path.open("rb") as file:

        def read(offset: int, kind: str, count: int) -> NDArray[np.int64]:
            file.seek(offset)
            data = file.read(np.dtype(kind).itemsize * count)
            values = np.frombuffer(data, kind).astype(np.int64)
            if len(values) < count:
                raise ValueError("the file ends too early")
            return values

        start = 0
        if read(0, ">u4", 1)[0] == int.from_bytes(b"ttcf", "big"):
            start = int(read(12, ">u4", 1)[0])
        tables = read(start + 12, ">u4", 4 * int(read(start + 4, ">u2", 1)[0])).reshape(-1, 4)
        cmap = int(tables[tables[:, 0] == int.from_bytes(b"cmap", "big")][0, 2])
        entries = read(cmap + 4, ">u2", 4 * int(read(cmap + 2, ">u2", 1)[0])).reshape(-1, 4)
        formats: dict[int, int] = {}
        for platform, encoding, high, low in entries:
            if platform == 0 or (platform == 3 and encoding in (1, 10)):
                offset = cmap + (int(high) << 16 | int(low))
                formats[int(read(offset, ">u2", 1)[0])] = offset
        if 12 in formats:
            groups = int(read(formats[12] + 12, ">u4", 1)[0])
            ranges = read(formats[12] + 16, ">u4", 3 * min(groups, 2**17)).reshape(-1, 3)[:, :2]
        elif 4 in formats:
            count = int(read(formats[4] + 6, ">u2", 1)[0]) // 2
            ends = read(formats[4] + 14, ">u2", count)
            ranges = np.stack([read(formats[4] + 16 + 2 * count, ">u2", count), ends], axis=1)
        else:
            return np.zeros((0, 2), np.int64)
    return ranges[np.argsort(ranges[:, 0], kind="stable")]
