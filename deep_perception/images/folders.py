"""The image files of a folder."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from deep_perception.images.pixels import ImageError

# What Pillow and OpenCV decode and cameras, phones and image programs write.
SUFFIXES = frozenset(
    (".avif", ".bmp", ".dib", ".gif", ".hdr", ".jfif", ".jp2", ".jpe", ".jpeg", ".jpg", ".pbm",
     ".pfm", ".pgm", ".png", ".pnm", ".ppm", ".tif", ".tiff", ".webp")
)  # fmt: skip
_RECORDINGS = frozenset((".bag", ".db3", ".mcap"))


def expand(paths: Iterable[Path]) -> tuple[list[Path], list[ImageError]]:
    """Replace folders by the images in them, and return each path once, and what went wrong."""
    files: dict[Path, None] = {}
    problems: list[ImageError] = []
    for path in paths:
        if not path.is_dir():
            files[path] = None
            continue
        try:
            files.update(dict.fromkeys(images_in(path)))
        except ImageError as error:
            problems.append(error)
    return list(files), problems


def images_in(folder: Path) -> list[Path]:
    """Return the image files of a folder by their suffixes, numbers in names sorted by value.

    Hidden files and folders inside of it are left out. Raises ImageError if there is no image.
    """
    try:
        entries = sorted(folder.iterdir(), key=_natural)
    except OSError as error:
        raise ImageError(f"{folder}: cannot be read ({error.strerror})") from None
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    images = [entry for entry in visible if entry.suffix.lower() in SUFFIXES and entry.is_file()]
    if images:
        return images
    if any(entry.suffix.lower() in _RECORDINGS for entry in visible):
        raise ImageError(f"{folder}: contains a recording; use deep_perception replay")
    inside = [entry.name for entry in visible if entry.is_dir()]
    advice = f"; folders inside of it are not searched, give {inside[0]} itself" if inside else ""
    raise ImageError(f"{folder}: contains no image file{advice}")


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", path.name)
    numbered = [(0, int(part), part) if index % 2 else (1, 0, part.casefold())
                for index, part in enumerate(parts)]  # fmt: skip
    return [*numbered, (2, 0, path.name)]
