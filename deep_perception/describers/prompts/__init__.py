"""Prompts: texts of the package, or files of the user's own."""

from __future__ import annotations

import hashlib
from pathlib import Path

from deep_perception.backends import BackendUnavailable

FOLDER = Path(__file__).parent
# What is added to a prompt, and of no use alone.
FORMS = ("json", "text", "scene")


def read_prompt(name: str) -> str:
    """The text of a prompt of the package or of a file. Raises BackendUnavailable."""
    own = "/" in name or name.endswith(".txt")
    path = Path(name).expanduser() if own else FOLDER / f"{name}.txt"
    try:
        text = path.read_text(encoding="utf-8").strip()
    except (OSError, ValueError) as error:
        known = ", ".join(sorted(p.stem for p in FOLDER.glob("*.txt") if p.stem not in FORMS))
        raise BackendUnavailable(
            f"describer.prompt: {path} cannot be read ({error}); there is {known}, or give the "
            "path of a text file"
        ) from None
    if not text:
        raise BackendUnavailable(f"describer.prompt: {path} is empty")
    return text


def prompt_id(text: str) -> str:
    """Twelve hexadecimal digits that stand for a prompt."""
    return hashlib.sha256(text.encode()).hexdigest()[:12]
