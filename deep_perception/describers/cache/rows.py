"""A row of the file of descriptions: written as JSON, and read like an answer of a server.

Several users may share the file, so a row is another's text: what no describer writes is no row.
"""

from __future__ import annotations

import dataclasses
import json
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass

from deep_perception.describers.server.answers.schema import (
    LABEL_LENGTH,
    TEXT_LENGTH,
    VALUE_LENGTH,
)
from deep_perception.label_spelling import JOINERS, VISIBLE_FORMAT, one_line
from deep_perception.regions import PENDING, Description
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.json_reader import read_json

# Bytes of a row. A description of this package has at most some 5 kB.
LONGEST_ROW = 1 << 16
# Characters of the names of a describer, a model, a prompt and an attribute.
LONGEST_NAME = 200


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Characters of the texts of a description, and how many attributes it has.

    ``lines``: whether a text may have several lines.
    """

    label: int
    text: int
    value: int
    attributes: int
    lines: bool


# What a describer of this package makes of an answer, and what one from another package may write.
ANSWER = Limits(
    label=LABEL_LENGTH, text=TEXT_LENGTH, value=VALUE_LENGTH, attributes=16, lines=False
)
ANY = Limits(label=1000, text=20_000, value=2000, attributes=200, lines=True)


def write_row(description: Description, limits: Limits) -> str | None:
    """Return a row, None for a description that ``read_row`` would not accept."""
    text = json.dumps(dataclasses.asdict(description), ensure_ascii=False)
    return text if read_row(text.encode(), limits) is not None else None


def read_row(data: object, limits: Limits) -> Description | None:
    """Return the description in a row, None if it is none that a describer could have written."""
    if not isinstance(data, bytes):
        return None
    try:
        content = read_json(data, limit=LONGEST_ROW)
        if all(isinstance(value, type(getattr(PENDING, name))) for name, value in content.items()):
            description = Description(**content)
            return description if _is_acceptable(description, limits) else None
    except (UntrustedError, ValueError, TypeError, AttributeError):
        pass
    return None


def _is_acceptable(description: Description, limits: Limits) -> bool:
    return (
        description.status == "described"
        and description.latency_s >= 0
        and len(description.attributes) <= limits.attributes
        and all(
            len(text) <= longest and _is_shown_as_it_is(text, limits)
            for text, longest in _texts(description, limits)
        )
    )


def _texts(description: Description, limits: Limits) -> Iterator[tuple[str, int]]:
    yield description.label, limits.label
    yield description.text, limits.text
    for name in (description.describer, description.model, description.prompt_id):
        yield name, LONGEST_NAME
    for name, value in description.attributes.items():
        yield name, LONGEST_NAME
        yield value, limits.value


def _is_shown_as_it_is(text: str, limits: Limits) -> bool:
    """Whether a text changes neither a terminal nor the direction of the text around it."""
    if not limits.lines:
        return one_line(text) == text
    return all(char in "\n\t" or _is_visible(char) for char in text)


def _is_visible(char: str) -> bool:
    category = unicodedata.category(char)
    if category == "Cf":
        return char in JOINERS or char in VISIBLE_FORMAT
    return category not in ("Cc", "Cs", "Zl", "Zp")
