"""Classes of datasets from the labels of regions: counted, reviewed by somebody, applied."""

from __future__ import annotations

import dataclasses
import textwrap
import unicodedata
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from deep_perception import label_spelling
from deep_perception.regions import Description

# Characters. A model that does not stop writes a label of pages.
LONGEST_LABEL, LONGEST_EXAMPLE = 100, 160
# The class of a label that nobody has looked at, in a list of which somebody has seen others.
UNREVIEWED = "?"
NOTHING = "(nothing)"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A label in its most frequent spelling, how many regions have it, one of their texts.

    ``name`` is its class, "" to leave its regions out.
    """

    label: str
    count: int = 0
    example: str = ""
    name: str = ""

    @property
    def key(self) -> str:
        """What all spellings of the label have in common."""
        return label_spelling.key(self.label)


def plain(text: str, longest: int) -> str:
    """A text in one line without characters that cannot be seen, of a length, never empty.

    No semicolons: a spreadsheet that parts cells by them would find a cell that begins there.
    """
    seen = "".join(each if each.isprintable() else " " for each in text.replace(";", ","))
    shown = " ".join(seen.split())[:longest].rstrip()
    return NOTHING if shown in ("", UNREVIEWED) else shown


def key_of(label: str) -> str:
    """What the row of a region's label has for a key."""
    return label_spelling.key(plain(label, LONGEST_LABEL))


class LabelCounts:
    """Counts the labels of regions that have words."""

    def __init__(self) -> None:
        self._spellings: dict[str, Counter[str]] = {}
        self._examples: dict[str, str] = {}

    def add(self, words: Description) -> None:
        """Count one region's label."""
        label = plain(words.label, LONGEST_LABEL)
        key = label_spelling.key(label)
        self._spellings.setdefault(key, Counter())[label] += 1
        if key not in self._examples:
            text = plain(words.text, len(words.text))
            self._examples[key] = textwrap.shorten(text, LONGEST_EXAMPLE, placeholder=" ...")

    def rows(self) -> list[Row]:
        """The most frequent label first, each its own class."""
        rows = []
        for key, spellings in self._spellings.items():
            label = min(spellings, key=lambda each: (-spellings[each], each))
            count = spellings.total()
            rows.append(Row(label=label, count=count, example=self._examples[key], name=label))
        return sorted(rows, key=lambda row: (-row.count, row.label))


def apply(reviewed: Sequence[Row], counted: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """All rows that were reviewed, in their order and with what was counted now; and those that
    were not.
    """
    now = {row.key: row for row in counted}
    rows = []
    for row in reviewed:
        found = now.pop(row.key, Row(label=row.label))
        rows.append(dataclasses.replace(row, count=found.count, example=found.example))
    return rows, [dataclasses.replace(row, name=UNREVIEWED) for row in now.values()]


class LabelMap:
    """Which class a label is of. ``names`` are the classes, in the order of the rows."""

    def __init__(self, rows: Sequence[Row]) -> None:
        numbers: dict[str, int] = {}
        names: list[str] = []
        self._class_of: dict[str, int] = {}
        for row in rows:
            if not row.name:
                continue
            number = numbers.setdefault(_folded(row.name), len(names))
            if number == len(names):
                names.append(row.name)
            self._class_of[row.key] = number
        self.names = tuple(names)

    def class_of(self, label: str) -> int | None:
        """The index into ``names``, None when regions of this label are left out."""
        return self._class_of.get(key_of(label))


def one_class(name: str, other: str) -> bool:
    """Whether two names of classes mean the same one."""
    return _folded(name) == _folded(other)


def _folded(name: str) -> str:
    return unicodedata.normalize("NFKC", name).casefold()
