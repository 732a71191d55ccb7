"""The spelling of labels: characters that a text may hold, and one spelling for each label.

Labels that differ only in case, hyphens, articles or dialect are one label. Labels that differ in
a letter, a combining mark (the vowel signs of many scripts), a digit or a symbol are two.
"""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from deep_perception.regions import Description, Region

ARTICLE = re.compile(r"^(?:an?|the)\s+")
AMERICAN = {"grey": "gray", "colour": "color", "coloured": "colored", "aluminium": "aluminum"}
# Invisible characters that are part of the spelling of words, of conjuncts and of emoji: zero width
# non-joiner and joiner, and the Mongolian vowel separator.
NON_JOINER = "\u200c"
JOINERS = f"{NON_JOINER}\u200d\u180e"
# Letters and symbols without a visible form, which would make a label that looks empty.
BLANK = "\u115f\u1160\u2800\u3164\uffa0\ufffc"
# Signs for numbers in Arabic script and Syriac are visible, although they are format characters.
VISIBLE_FORMAT = "\u0600\u0601\u0602\u0603\u0604\u0605\u06dd\u070f\u0890\u0891\u08e2"
# A hyphen that is a minus: in front of a number, or alone ("- button").
MINUS = re.compile(r"(?<!\S)[-\u2212](?=\d|\s|$)")
# Punctuation that tells two things apart ("C# book"), and symbols that do not.
TELLING, NOT_TELLING = "#%&@*§", "`´¨^~|¯¸˜"


class LabelSpelling:
    """The spellings of a scene in order of arrival, for descriptions that are published at once."""

    def __init__(self) -> None:
        self._spellings: dict[str, str] = {}

    def spell(self, description: Description) -> Description:
        """The description with the first spelling of its label that arrived."""
        label = description.label
        return _respelled(description, self._spellings.setdefault(key(label), label))


def unify_spelling(regions: Sequence[Region]) -> tuple[Region, ...]:
    """The regions of a scene with each label in its most frequent spelling, or else the first.

    The result does not depend on the order in which the descriptions arrived.
    """
    spellings: dict[str, Counter[str]] = {}
    for region in regions:
        label = region.description.label
        spellings.setdefault(key(label), Counter())[label] += 1
    best = {label_key: counts.most_common(1)[0][0] for label_key, counts in spellings.items()}
    return tuple(
        region.described(_respelled(region.description, best[key(region.description.label)]))
        for region in regions
    )


def _respelled(description: Description, label: str) -> Description:
    if description.label == label:
        return description
    return dataclasses.replace(description, label=label)


def one_line(text: str) -> str:
    """Return a text as one line, without control characters and without invisible ones.

    Soft hyphens, byte order marks and direction marks are dropped. A joiner stays where it is part
    of the spelling: inside of a word, after a combining mark, and inside of an emoji.
    """
    kept: list[str] = []
    for number, char in enumerate(text):
        category = unicodedata.category(char)
        if char in JOINERS:
            following = text[number + 1] if number + 1 < len(text) else ""
            if kept and _joins(kept[-1], following):
                kept.append(char)
        elif "\U000e0020" <= char <= "\U000e007f" and kept and _is_flag(kept[-1]):
            kept.append(char)
        elif category == "Cf" and char not in VISIBLE_FORMAT:
            continue
        else:
            kept.append(
                " " if (category[0] in "CZ" and category != "Cf") or char in BLANK else char
            )
    return " ".join("".join(kept).split())


def _joins(before: str, after: str) -> bool:
    if _is_mark(before):
        return True
    wanted = "LMS" if unicodedata.category(before)[0] == "S" else "LM"
    return after not in ("", *BLANK) and all(
        unicodedata.category(char)[0] in wanted for char in (before, after)
    )


def _is_flag(before: str) -> bool:
    # The flags of Scotland and others are a black flag and letters that cannot be seen.
    return before == "\U0001f3f4" or "\U000e0020" <= before <= "\U000e007e"


def _is_mark(char: str) -> bool:
    return unicodedata.category(char)[0] == "M"


def folded(text: str) -> str:
    """Return a text without the differences of case and of Unicode's compatible characters.

    The full case folding would make two German words one ("Buße" and "Busse").
    """
    return unicodedata.normalize("NFKC", text).lower()


def key(label: str) -> str:
    """A text that is equal for all spellings of a label."""
    text = MINUS.sub("\u2212", folded(one_line(label)))
    words = "".join(map(_in_key, text)).split()
    # A label that consists of punctuation only is its own key.
    return ARTICLE.sub("", " ".join(AMERICAN.get(word, word) for word in words)) or label


def _in_key(char: str) -> str:
    # The pattern \w would not do: for Python, combining marks are no part of a word.
    if "\ufe00" <= char <= "\ufe0f":
        return ""  # These select the style of an emoji.
    if char in TELLING or char in JOINERS or "\U000e0020" <= char <= "\U000e007f":
        # The non-joiner separates the parts of a Persian compound, which is also written in two.
        return " " if char == NON_JOINER else char
    return char if unicodedata.category(char)[0] in "LMNS" and char not in NOT_TELLING else " "
