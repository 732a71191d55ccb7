"""A row of the file of descriptions: written as JSON, and read like an answer of a server.

Several users may share the file, so a row is another's text: what no describer writes is no row.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass

from deep_perception.describers.server.answers.schema import (
    LABEL_LENGTH,
    TEXT_LENGTH,
    VALUE_LENGTH,
)
from deep_perception.regions import MAX_LABEL, MAX_TEXT, MAX_VALUE, PENDING, Description
from deep_perception.untrusted.json_reader import read_json

# Bytes of a row. What a Description allows takes less.
LONGEST_ROW = 1 << 18


@dataclass(frozen=True, kw_only=True)
class Limits:
    """Characters of the texts of a description."""

    label: int
    text: int
    value: int


# What a describer of this package makes of an answer, and what one from another package may write.
ANSWER = Limits(label=LABEL_LENGTH, text=TEXT_LENGTH, value=VALUE_LENGTH)
ANY = Limits(label=MAX_LABEL, text=MAX_TEXT, value=MAX_VALUE)


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
        if not all(
            isinstance(value, type(getattr(PENDING, name))) for name, value in content.items()
        ):
            return None
        description = Description(**content)
    except (ValueError, TypeError, AttributeError):  # ValueError is also UntrustedError.
        return None
    # A Description cleans its texts; those of a row were cleaned before it was written.
    same = {name: getattr(description, name) for name in content} == content
    return description if same and _is_acceptable(description, limits) else None


def _is_acceptable(description: Description, limits: Limits) -> bool:
    return (
        description.status == "described"
        and len(description.label) <= limits.label
        and len(description.text) <= limits.text
        and all(len(value) <= limits.value for value in description.attributes.values())
    )
