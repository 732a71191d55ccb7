"""The image files of a folder."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from pathlib import Path

from deep_perception.images.pixels import ImageError
from deep_perception.untrusted.text import LINE, printable

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
        if not _leads_to(path, Path.is_dir):
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
        shown = printable(folder, LINE)
        raise ImageError(f"{shown}: cannot be read ({error.strerror})") from None
    visible = [entry for entry in entries if not entry.name.startswith(".")]
    # Pipes and devices need not end, so only what is named itself is read from them.
    images = [entry for entry in visible
              if entry.suffix.lower() in SUFFIXES and _leads_to(entry, Path.is_file)]  # fmt: skip
    if images:
        return images
    shown = printable(folder, LINE)
    if any(entry.suffix.lower() in _RECORDINGS for entry in visible):
        raise ImageError(f"{shown}: contains a recording; use deep_perception replay")
    inside = [printable(entry.name) for entry in visible if _leads_to(entry, Path.is_dir)]
    advice = f"; folders inside of it are not searched, give {inside[0]} itself" if inside else ""
    raise ImageError(f"{shown}: contains no image file{advice}")


def _leads_to(path: Path, kind: Callable[[Path], bool]) -> bool:
    """Whether a path is of a kind; a link that leads nowhere, or to itself, is of none."""
    try:
        return kind(path)
    except OSError:
        return False


def _natural(path: Path) -> list[tuple[int, int, str]]:
    parts = re.split(r"([0-9]+)", path.name)
    numbered = [(0, int(part), part) if index % 2 else (1, 0, part.casefold())
                for index, part in enumerate(parts)]  # fmt: skip
    return [*numbered, (2, 0, path.name)]
