"""Classes of datasets from the labels of regions: counted, reviewed by a person, applied."""

from __future__ import annotations

import dataclasses
import textwrap
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from deep_perception import label_spelling
from deep_perception.regions import Description
from deep_perception.untrusted.words import one_line

# Characters. A model that does not stop can write a label of several pages.
MAX_LABEL, MAX_EXAMPLE = 100, 160
# The class of a new label in a list whose other labels were reviewed.
UNREVIEWED = "?"
EMPTY = "(nothing)"


@dataclass(frozen=True, kw_only=True)
class Row:
    """A label in its most frequent spelling, the number of its regions, and one of their texts.

    ``name`` is its class, "" to leave its regions out.
    """

    label: str
    count: int = 0
    example: str = ""
    name: str = ""

    @property
    def key(self) -> str:
        """The key that all spellings of the label share."""
        return label_spelling.key(self.label)


def single_line(text: str, max_length: int) -> str:
    """Return a text as one line of printable characters, which is never empty.

    Semicolons are replaced, because some spreadsheets would start a new cell there.
    """
    line = one_line(text.replace(";", ","))[:max_length]
    line = one_line(line)  # The last character may have joined what was cut off.
    return EMPTY if line in ("", UNREVIEWED) else line


def key_of(label: str) -> str:
    """Return the key of the row that a region's label belongs to."""
    return label_spelling.key(single_line(label, MAX_LABEL))


class LabelCounts:
    """Counts the labels of described regions."""

    def __init__(self) -> None:
        self._spellings: dict[str, Counter[str]] = {}
        self._examples: dict[str, str] = {}

    def add(self, description: Description) -> None:
        """Count one region's label."""
        label = single_line(description.label, MAX_LABEL)
        key = label_spelling.key(label)
        self._spellings.setdefault(key, Counter())[label] += 1
        if key not in self._examples:
            text = single_line(description.text, len(description.text))
            self._examples[key] = textwrap.shorten(text, MAX_EXAMPLE, placeholder=" ...")

    def rows(self) -> list[Row]:
        """Return the rows, the most frequent label first, each as its own class."""
        rows = []
        for key, spellings in self._spellings.items():
            label = min(spellings, key=lambda spelling: (-spellings[spelling], spelling))
            count = spellings.total()
            rows.append(Row(label=label, count=count, example=self._examples[key], name=label))
        return sorted(rows, key=lambda row: (-row.count, row.label))


def apply(reviewed: Sequence[Row], counted: Sequence[Row]) -> tuple[list[Row], list[Row]]:
    """Return the reviewed rows with the new counts, and the counted rows that were not reviewed."""
    remaining = {row.key: row for row in counted}
    rows = []
    for row in reviewed:
        found = remaining.pop(row.key, Row(label=row.label))
        rows.append(dataclasses.replace(row, count=found.count, example=found.example))
    return rows, [dataclasses.replace(row, name=UNREVIEWED) for row in remaining.values()]


class LabelMap:
    """The class of each label. ``names`` are the classes, in the order of the rows."""

    def __init__(self, rows: Sequence[Row]) -> None:
        class_ids: dict[str, int] = {}
        names: list[str] = []
        self._class_of: dict[str, int] = {}
        for row in rows:
            if not row.name:
                continue
            class_id = class_ids.setdefault(label_spelling.folded(row.name), len(names))
            if class_id == len(names):
                names.append(row.name)
            self._class_of[row.key] = class_id
        self.names = tuple(names)

    def class_of(self, label: str) -> int | None:
        """Return the index into ``names``, None if regions with this label are left out."""
        return self._class_of.get(key_of(label))


def is_same_class(name: str, other: str) -> bool:
    """Return whether two names mean the same class."""
    return label_spelling.folded(name) == label_spelling.folded(other)
