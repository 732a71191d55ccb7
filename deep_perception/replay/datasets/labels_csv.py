"""``labels.csv``: the labels of datasets, to be reviewed in a spreadsheet.

A model writes the labels, so they are untrusted: text that a spreadsheet would take for a formula
gets an apostrophe in front, which is removed when the file is read.
"""

from __future__ import annotations

import csv
import hashlib
import io
import itertools
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from deep_perception.replay.datasets.classes import (
    MAX_LABEL,
    UNREVIEWED,
    Row,
    is_same_class,
    single_line,
)
from deep_perception.replay.files import write_file
from deep_perception.replay.journal import HIDDEN
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.text import REASON, printable

LABELS, NEW_LABELS = "labels.csv", "labels_new.csv"
COLUMNS = ("label", "count", "example", "class")
# Bytes and rows of a file, and cells of a row: spreadsheets write empty ones.
LARGEST, MOST_ROWS, MOST_CELLS = 1 << 25, 500_000, 16384
FORMULA = re.compile(r"'*[=+\-@＝＋－＠]")


class LabelsError(ValueError):
    """A file of labels cannot be used; the message says which, where, and what is expected."""


def save(folder: Path, rows: Sequence[Row]) -> Path:
    """Write the rows as ``labels.csv``, or beside it if a person edited the existing file.

    An edited file is kept if its labels, their order or their classes differ from the rows;
    unreviewed rows do not count. The rows then go into ``labels_new.csv``, or a later number.
    Returns the path. Raises OSError.
    """
    data, digests_file = to_csv(rows), folder / HIDDEN / "labels"
    digests = _read_digests(digests_file)
    names = itertools.chain(
        (LABELS, NEW_LABELS), (f"labels_new_{n}.csv" for n in itertools.count(2))
    )
    path = next(
        path
        for path in (folder / name for name in names)
        if not path.exists()
        or _digest(path) == digests.get(path.name)
        or _decisions_in(path) == _decisions(rows)
    )
    own_digest = digests.pop(path.name, None)
    unedited = (
        not path.exists()
        or _digest(path) == own_digest
        or all(row.name == row.label for row in rows)
    )
    new = folder / NEW_LABELS
    if path.name == LABELS and new.exists() and _digest(new) == digests.get(new.name):
        new.unlink()
    digests_file.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
    # An edited file with new counts is still an edited file, so that its digest is not stored.
    if unedited:
        digests[path.name] = _digest(path)
    write_file(digests_file, json.dumps(digests).encode())
    return path


def _read_digests(path: Path) -> dict[str, str]:
    try:
        content = read_json(read_file(path, LARGEST))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest(path: Path) -> str:
    try:
        return hashlib.sha256(read_file(path, LARGEST)).hexdigest() if path.is_file() else ""
    except UntrustedError:
        return ""


def _decisions_in(path: Path) -> list[tuple[str, str]] | None:
    """Return the decisions in a file, None if it also contains other columns, or is no file."""
    if not path.is_file():
        return None
    try:
        columns, rows = _read(path)
    except LabelsError:
        return None
    return _decisions(rows) if columns == COLUMNS else None


def _decisions(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(row.key, row.name) for row in rows if row.name != UNREVIEWED]


def to_csv(rows: Sequence[Row]) -> bytes:
    """Return a CSV file that spreadsheets open as UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_escape(row.label), row.count, _escape(row.example), _escape(row.name)])
    return text.getvalue().encode("utf-8-sig")


def read(path: Path) -> list[Row]:
    """Return the labels and classes of a CSV file, without unreviewed ones and other columns.

    The file may be saved by LibreOffice, Excel or an editor: separated by commas, semicolons or
    tabs, in UTF-8 or UTF-16, with or without empty cells at the end of a row. Raises LabelsError.
    """
    _, rows = _read(path)
    reviewed = [row for row in rows if row.name != UNREVIEWED]
    if not any(row.name for row in reviewed):
        raise LabelsError(f"{path}: no label has a class; expected at least one class")
    return reviewed


def _read(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    lines = list(itertools.islice(_lines(path, _text(path)), MOST_ROWS + 1))
    if len(lines) > MOST_ROWS:
        raise LabelsError(f"{path}: has more than {MOST_ROWS} rows; expected a list of labels")
    if not lines:
        raise LabelsError(f"{path}: is empty; expected a line with 'label' and 'class' first")
    number, header = lines.pop(0)
    columns = tuple(cell.strip().lower() for cell in header)
    if columns.count("label") != 1 or columns.count("class") != 1:
        raise LabelsError(
            f"{path}, line {number}: the columns are "
            f"{printable(', '.join(map(repr, header)), REASON)}; expected 'label' and 'class' "
            "among them, once each"
        )
    found: dict[str, tuple[int, Row]] = {}
    for number, cells in lines:
        if any(cells[len(columns) :]):
            raise LabelsError(
                f"{path}, line {number}: {len(cells)} cells, expected {len(columns)}; a text with "
                'the character that separates cells must be in "quotes"'
            )
        row = _row(dict(zip(columns, cells, strict=False)))
        if row is None:
            raise LabelsError(
                f"{path}, line {number}: no label in {printable(cells, REASON)}; expected one in "
                "column 'label'"
            )
        other, same = found.setdefault(row.key, (number, row))
        if not is_same_class(same.name, row.name):
            raise LabelsError(
                f"{path}, line {number}: label {row.label!r} has class {row.name!r}, but "
                f"{same.label!r} in line {other} has {same.name!r}; expected one class for a label"
            )
    return columns, [row for _, row in found.values()]


def _row(cells: Mapping[str, str]) -> Row | None:
    label, name = (_unescape(cells.get(column, "").strip()) for column in ("label", "class"))
    if not label:
        return None
    if name not in ("", UNREVIEWED):
        name = single_line(name, MAX_LABEL)
    return Row(label=single_line(label, MAX_LABEL), name=name)


def _text(path: Path) -> str:
    try:
        # The file may be a pipe, of a shell for example.
        with path.open("rb") as file:
            data = file.read(LARGEST + 1)
    except OSError as error:
        raise LabelsError(
            f"{path}: cannot be read ({error.strerror}); expected a {LABELS} as --export writes it"
        ) from None
    if len(data) > LARGEST:
        raise LabelsError(f"{path}: is larger than {LARGEST >> 20} MB; expected a list of labels")
    if data.startswith(b"PK\x03\x04"):
        raise LabelsError(f"{path}: is a spreadsheet; expected a CSV file: save it as CSV, UTF-8")
    wide = data.startswith((b"\xff\xfe", b"\xfe\xff"))
    try:
        return data.decode("utf-16" if wide else "utf-8-sig")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise LabelsError(
            f"{path}, line {line}: byte {data[error.start]:#04x} is not UTF-8; expected a file "
            "that is (in Excel: save as CSV UTF-8)"
        ) from None


def _lines(path: Path, text: str) -> Iterator[tuple[int, list[str]]]:
    """Yield line numbers and cells of the rows that are not empty."""
    # Excel writes this line to name the separator.
    text = re.sub(r"\A(?i:sep)=.(?=\r?\n)", "", text)
    first = next((line for line in text.splitlines() if line.strip()), "")
    delimiter = max(",;\t", key=first.count)
    rows = csv.reader(io.StringIO(text, newline=None), delimiter=delimiter, strict=True)
    while True:
        number = rows.line_num + 1
        try:
            cells = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            raise LabelsError(
                f"{path}, line {number}: is no row of a CSV file ({error}); expected cells "
                f'separated by {delimiter!r}, and quotes in a text doubled: "a ""text"""'
            ) from None
        if len(cells) > MOST_CELLS:
            raise LabelsError(f"{path}, line {number}: {len(cells)} cells, expected {COLUMNS}")
        if any(cell.strip() for cell in cells):
            yield number, cells


def _escape(text: str) -> str:
    return f"'{text}" if FORMULA.match(text) else text


def _unescape(text: str) -> str:
    return text[1:] if text.startswith("'") and FORMULA.match(text[1:]) else text
