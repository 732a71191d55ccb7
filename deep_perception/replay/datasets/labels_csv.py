"""``labels.csv``: the labels of datasets, to be reviewed in a spreadsheet.

Labels are a model's words about a picture, and untrusted: what a spreadsheet would take for a
formula gets an apostrophe before it, which is taken away again when the file is read.
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

from deep_perception.replay.datasets.classes import LONGEST_LABEL, UNREVIEWED, Row, one_class, plain
from deep_perception.replay.files import write_file
from deep_perception.replay.journal import HIDDEN

LABELS, NEW_LABELS = "labels.csv", "labels_new.csv"
COLUMNS = ("label", "count", "example", "class")
FORMULA = re.compile(r"'*[=+\-@＝＋－＠]")


class LabelsError(ValueError):
    """A file of labels cannot be used; the message says which, where, and what is expected."""


def save(folder: Path, rows: Sequence[Row]) -> Path:
    """Write ``labels.csv``; returns what was written. Raises OSError.

    Where somebody edited the one that is there, and it has other labels, classes or another order
    than these rows (unreviewed ones aside), it stays as it is, and they are in ``labels_new.csv``,
    or a later number.
    """
    data, written = to_csv(rows), folder / HIDDEN / "labels"
    digests = _digests(written)
    names = itertools.chain(
        (LABELS, NEW_LABELS), (f"labels_new_{n}.csv" for n in itertools.count(2))
    )
    path = next(
        path
        for path in (folder / name for name in names)
        if not path.exists()
        or _digest(path) == digests.get(path.name)
        or _decided(path) == _decisions(rows)
    )
    ours = digests.pop(path.name, None)
    nobodys = (
        not path.exists() or _digest(path) == ours or all(row.name == row.label for row in rows)
    )
    new = folder / NEW_LABELS
    if path.name == LABELS and new.exists() and _digest(new) == digests.get(new.name):
        new.unlink()
    written.parent.mkdir(parents=True, exist_ok=True)
    write_file(path, data)
    # What somebody decided stays theirs, with the counts of now.
    if nobodys:
        digests[path.name] = _digest(path)
    write_file(written, json.dumps(digests).encode())
    return path


def _digests(written: Path) -> dict[str, str]:
    try:
        content = json.loads(written.read_bytes())
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def _decided(path: Path) -> list[tuple[str, str]] | None:
    """What a person may have decided in a file, None where it has more than that."""
    try:
        columns, rows = _read(path)
    except LabelsError:
        return None
    return _decisions(rows) if columns == COLUMNS else None


def _decisions(rows: Sequence[Row]) -> list[tuple[str, str]]:
    return [(row.key, row.name) for row in rows if row.name != UNREVIEWED]


def to_csv(rows: Sequence[Row]) -> bytes:
    """A CSV file that spreadsheets open as UTF-8."""
    text = io.StringIO(newline="")
    writer = csv.writer(text, quoting=csv.QUOTE_NONNUMERIC)
    writer.writerow(COLUMNS)
    for row in rows:
        writer.writerow([_safe(row.label), row.count, _safe(row.example), _safe(row.name)])
    return text.getvalue().encode("utf-8-sig")


def read(path: Path) -> list[Row]:
    """The labels and classes of a CSV file, without those that are unreviewed.

    Other columns are ignored.

    As LibreOffice, Excel and editors save it: parted by commas, semicolons or tabs, in UTF-8 or
    UTF-16, with or without empty cells at the end of a row. Raises LabelsError.
    """
    _, rows = _read(path)
    reviewed = [row for row in rows if row.name != UNREVIEWED]
    if not any(row.name for row in reviewed):
        raise LabelsError(f"{path}: no label has a class; expected one for a label at least")
    return reviewed


def _read(path: Path) -> tuple[tuple[str, ...], list[Row]]:
    lines = list(_lines(path, _text(path)))
    if not lines:
        raise LabelsError(f"{path}: is empty; expected a line with 'label' and 'class' first")
    number, header = lines.pop(0)
    columns = tuple(cell.strip().lower() for cell in header)
    if columns.count("label") != 1 or columns.count("class") != 1:
        raise LabelsError(
            f"{path}, line {number}: the columns are {', '.join(map(repr, header))}; expected "
            "'label' and 'class' among them, once each"
        )
    found: dict[str, tuple[int, Row]] = {}
    for number, cells in lines:
        if any(cells[len(columns) :]):
            raise LabelsError(
                f"{path}, line {number}: {len(cells)} cells, expected {len(columns)}; a text with "
                'the character that parts cells must be in "quotes"'
            )
        row = _row(dict(zip(columns, cells, strict=False)))
        if row is None:
            raise LabelsError(
                f"{path}, line {number}: no label in {cells}; expected one in column 'label'"
            )
        other, same = found.setdefault(row.key, (number, row))
        if not one_class(same.name, row.name):
            raise LabelsError(
                f"{path}, line {number}: label {row.label!r} has class {row.name!r}, but "
                f"{same.label!r} in line {other} has {same.name!r}; expected one class for a label"
            )
    return columns, [row for _, row in found.values()]


def _row(cells: Mapping[str, str]) -> Row | None:
    label, name = (_unsafe(cells.get(column, "").strip()) for column in ("label", "class"))
    if not label:
        return None
    if name not in ("", UNREVIEWED):
        name = plain(name, LONGEST_LABEL)
    return Row(label=plain(label, LONGEST_LABEL), name=name)


def _text(path: Path) -> str:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise LabelsError(
            f"{path}: cannot be read ({error.strerror}); expected a {LABELS} as --export writes it"
        ) from None
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
    """Line numbers and cells of the rows that are not empty."""
    # Excel's own line, which says what parts the cells.
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
                f"{path}, line {number}: is no row of a CSV file ({error}); expected cells parted "
                f'by {delimiter!r}, and quotes in a text doubled: "a ""text"""'
            ) from None
        if any(cell.strip() for cell in cells):
            yield number, cells


def _safe(text: str) -> str:
    return f"'{text}" if FORMULA.match(text) else text


def _unsafe(text: str) -> str:
    return text[1:] if text.startswith("'") and FORMULA.match(text[1:]) else text
