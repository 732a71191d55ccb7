"""One spelling for one thing: labels that differ only in case, hyphens, articles or dialect."""

from __future__ import annotations

import dataclasses
import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

from deep_perception.regions import Description, Region

ARTICLE = re.compile(r"^(?:an?|the)\s+")
AMERICAN = {"grey": "gray", "colour": "color", "coloured": "colored", "aluminium": "aluminum"}


class LabelSpelling:
    """The spellings of one scene in the order that they are met, for what is told at once."""

    def __init__(self) -> None:
        self._spellings: dict[str, str] = {}

    def spell(self, words: Description) -> Description:
        """The words with the spelling of their label that was met first."""
        return _respelled(words, self._spellings.setdefault(key(words.label), words.label))


def one_spelling(regions: Sequence[Region]) -> tuple[Region, ...]:
    """The regions of a scene, each label in its most frequent spelling, else the first.

    Whatever the order was in which the words arrived.
    """
    spellings: dict[str, Counter[str]] = {}
    for region in regions:
        label = region.description.label
        spellings.setdefault(key(label), Counter())[label] += 1
    best = {each: counts.most_common(1)[0][0] for each, counts in spellings.items()}
    return tuple(
        region.described(_respelled(region.description, best[key(region.description.label)]))
        for region in regions
    )


def _respelled(words: Description, label: str) -> Description:
    return words if words.label == label else dataclasses.replace(words, label=label)


def key(label: str) -> str:
    """What all spellings of a label have in common."""
    text = unicodedata.normalize("NFKC", label).casefold()
    words = re.sub(r"[\W_]+", " ", text).split()
    # Of nothing but signs, each is its own.
    return ARTICLE.sub("", " ".join(AMERICAN.get(word, word) for word in words)) or label
