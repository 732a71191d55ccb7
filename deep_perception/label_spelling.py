"""One spelling for each label of a scene.

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
from deep_perception.untrusted.words import JOINERS, NON_JOINER, one_line

ARTICLE = re.compile(r"^(?:an?|the)\s+")
AMERICAN = {"grey": "gray", "colour": "color", "coloured": "colored", "aluminium": "aluminum"}
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
