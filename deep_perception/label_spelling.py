"""One spelling for each label: labels that differ only in case, hyphens, articles or dialect."""

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


def key(label: str) -> str:
    """A text that is equal for all spellings of a label."""
    text = unicodedata.normalize("NFKC", label).casefold()
    words = re.sub(r"[\W_]+", " ", text).split()
    # A label that consists of punctuation only is its own key.
    return ARTICLE.sub("", " ".join(AMERICAN.get(word, word) for word in words)) or label
