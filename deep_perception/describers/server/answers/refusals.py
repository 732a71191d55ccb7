"""Whether a model refuses to describe: an apology for what it cannot do, in many languages.

A refusal starts with an apology that is followed by what the model cannot do, or with that alone.
A sign that says sorry ("Sorry, we're closed") is no refusal: there, nobody says that he or she
cannot see or help. A text that starts with a quotation mark quotes what the image shows.
"""

from __future__ import annotations

import re

from deep_perception.describers.server.answers.refusal_words import ALONE, ASKS, LANGUAGES

# Emphasis and emoji may precede a refusal; a quotation mark may not, and there is none within it.
START = r"^[^\w\"'“”„«»「『‘’]*"
GAP = r"[^\"“”„«「『]{0,80}?(?<![^\W\d_])"


REFUSALS = tuple(
    re.compile(
        # An inability that may follow anything is none without the apology.
        rf"{START}(?:(?:{apology}){gap}(?:{inability})"
        + ("" if inability.startswith(".") else rf"|(?:{inability})")
        + ")",
        re.IGNORECASE | re.DOTALL,
    )
    for apology, inability in LANGUAGES
    for gap in ["" if inability.startswith(".") else GAP]
)
ALONE_PATTERN = re.compile(rf"{START}(?:{ALONE})", re.IGNORECASE | re.DOTALL)
ONLY_SORRY = tuple(
    re.compile(rf"{START}(?!thank|however)(?:{apology})\W*$", re.IGNORECASE)
    for apology, _ in LANGUAGES
)


def refuses(text: str) -> bool:
    """Return whether a text is a refusal."""
    text = _unquoted(text.strip()).replace("’", "'")
    return bool(
        any(pattern.match(text) for pattern in (*REFUSALS, ALONE_PATTERN)) or ASKS.search(text)
    )


def only_says_sorry(text: str) -> bool:
    """Return whether a text is an apology and nothing else."""
    text = _unquoted(text.strip()).replace("’", "'")
    return any(pattern.match(text) for pattern in ONLY_SORRY)


def _unquoted(text: str) -> str:
    """Return a text without quotation marks around all of it."""
    if len(text) > 2 and text[0] in "\"'“„«「『" and text[-1] in "\"'”“»」』":
        inner = text[1:-1]
        if not re.search(r"[\"“”„«»「」『』]", inner):
            return inner.strip()
    return text
