"""Whether a text is a loop: what a model writes that does not come to an end, in any script."""

from __future__ import annotations

import re
import unicodedata

# A short unit four times in a row, a long one three times.
LOOP = re.compile(r"(.{1,23}?)\1{3,}|(.{24,200}?)\2{2,}", re.DOTALL)
# What a sign or a display shows may repeat ("no no no no"), as long as it is short.
QUOTED = re.compile(
    r"\"[^\"]{1,40}\"|“[^”]{1,40}”|„[^“”]{1,40}[“”]|«[^»]{1,40}»|「[^」]{1,40}」|『[^』]{1,40}』|"
    r"(?<!\w)['‘][^'’]{1,40}['’](?!\w)"
)
# A loop with letters is this long in any text, or this long if it is half of the text. Loops of
# digits and marks are longer, because displays, codes and forms have real ones.
LONG, HALF, LONG_WITHOUT_LETTERS = 48, 16, 40
# A loop that counts is this long and most of the text: "gate 1, gate 2, gate 3" may be real.
COUNTING, MOST = 32, 0.75
# From here on in the Unicode table, most letters are syllables or words.
WIDE = "\u2e80"
# A text of that many words or syllables is a loop if a smaller share of them differ.
MANY, SHARE = 30, 0.25


def repeats(text: str) -> bool:
    """Return whether the text, or a large part of it, is one unit again and again.

    "1. red cup 2. red cup 3. red cup" counts as well: numbers are compared as if they were equal.
    """
    text = text.lower()
    unquoted = QUOTED.sub(" ", text)
    text = unquoted if re.search(r"\w", unquoted) else text
    plain = _spaced(text)
    numbered = re.sub(r"\d+", "0", plain)
    return (
        any(_is_loop(*found) for found in [*_loops(text), *_loops(plain)])
        or (numbered != plain and any(_counts(*found) for found in _loops(numbered)))
        or _has_few_words(plain)
    )


def _spaced(text: str) -> str:
    """Return a text with one space for each gap between its words; marks belong to words."""
    return " ".join(
        "".join(char if unicodedata.category(char)[0] in "LMN" else " " for char in text).split()
    )


def _loops(text: str) -> list[tuple[str, str, str]]:
    # With a space at the end, the last word of a loop is like the others.
    padded = f"{text} "
    return [(match[1] or match[2], match[0], padded) for match in LOOP.finditer(padded)]


def _is_loop(unit: str, loop: str, text: str) -> bool:
    length = _weight(loop)
    if not any(map(str.isalpha, unit)):
        return length >= LONG_WITHOUT_LETTERS
    return length >= LONG or (length >= HALF and 2 * length >= _weight(text))


def _counts(unit: str, loop: str, text: str) -> bool:
    length = _weight(loop)
    has_word = sum(map(str.isalpha, unit)) >= 2
    return has_word and length >= COUNTING and length >= MOST * _weight(text)


def _weight(text: str) -> int:
    """Return the length of a text, with a syllable or a word as two letters."""
    return sum(2 if char >= WIDE else 1 for char in text)


def _has_few_words(text: str) -> bool:
    wide = "".join(char for char in text if char >= WIDE)
    # Scripts without spaces are compared by pairs of characters.
    pairs = [wide[at : at + 2] for at in range(len(wide) - 1)]
    words = pairs if 2 * len(wide) > len(text) else text.split()
    return len(words) >= MANY and len(set(words)) < SHARE * len(words)
