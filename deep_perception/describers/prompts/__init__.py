"""Prompts: texts of this package, or files of the user."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deep_perception.backends import BackendUnavailable
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.text import LINE, printable

FOLDER = Path(__file__).parent
# These texts are appended to a prompt and are no prompts themselves.
FORMS = ("json", "text", "scene")
# Bytes of a prompt: more than any model of this size reads for each region.
LARGEST = 100_000


def read_prompt(name: str) -> str:
    """Return the prompt with a name of the package or a path. Raises BackendUnavailable."""
    is_path = "/" in name or name.endswith(".txt")
    path = Path(name).expanduser() if is_path else FOLDER / f"{name}.txt"
    try:
        text = read_file(path, LARGEST).decode("utf-8").strip()
    except (OSError, ValueError) as error:
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.txt") if p.stem not in FORMS))
        raise BackendUnavailable(
            f"describer.prompt: {printable(path, LINE)} cannot be read ({printable(error, LINE)}); "
            f"set one of {known}, or the path of a text file with at most {LARGEST} bytes of UTF-8"
        ) from None
    if not text:
        raise BackendUnavailable(f"describer.prompt: {printable(path, LINE)} is empty")
    return text


def prompt_id(text: str) -> str:
    """Return twelve hexadecimal digits that are the same for the same prompt."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
