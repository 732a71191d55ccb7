"""labels.csv: from the labels of regions, edited in a spreadsheet, to classes."""

import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception import label_spelling
from deep_perception.regions import Description
from deep_perception.replay.datasets.classes import UNREVIEWED, LabelCounts, LabelMap, Row, apply
from deep_perception.replay.datasets.labels_csv import LabelsError, read, save, to_csv

FORMULAS = ("=cmd|' /C calc'!A0", "+1+1", "-2+3", "@SUM(A1)", "'=1", "＝1", "\t=1", "a;=1;b")


def description(label, text="A cup."):
    return Description(status="described", label=label, text=text)


def counted(*labels):
    counts = LabelCounts()
    for label in labels:
        counts.add(description(label))
    return counts.rows()


def saved(tmp_path, content):
    path = tmp_path / "map.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def classes(path):
    return {row.label: row.name for row in read(path)}


# -- counted ------------------------------------------------------------------------------------


def test_different_spellings_are_one_label():
    cup, mug = counted("Grey Cup", "a gray cup", "mug", "gray cup", "gray-cup", "gray cup")
    assert (cup.label, cup.count, cup.name) == ("gray cup", 5, "gray cup")
    assert (mug.label, mug.count, mug.example) == ("mug", 1, "A cup.")
    found = LabelMap([cup, mug])
    assert [found.class_of(each) for each in ("GRAY_CUP", "the grey cup", "mug", "jug")] == [
        0, 0, 1, None,
    ]  # fmt: skip


def test_labels_with_different_marks_are_different_classes(tmp_path):
    labels = ("केला", "कील", "نیم\u200cفنجان", "C++ book", "C book")
    found = LabelMap(read(saved(tmp_path, to_csv(counted(*labels)))))
    assert sorted(found.names) == sorted(labels)
    assert len({found.class_of(label) for label in labels}) == len(labels)


def test_the_order_of_the_labels_does_not_matter():
    labels = ["b", "a", "C", "c", "the a", "d", "b"]
    assert counted(*labels) == counted(*reversed(labels))
    assert [(row.label, row.count) for row in counted(*labels)] == [
        ("C", 2), ("a", 2), ("b", 2), ("d", 1),
    ]  # fmt: skip


@given(st.lists(st.text(min_size=1), min_size=1, max_size=8))
def test_any_labels_are_read_as_they_were_written(tmp_path_factory, labels):
    rows = counted(*labels)
    path = saved(tmp_path_factory.mktemp("csv"), to_csv(rows))
    found = read(path)
    assert [(row.label, row.key) for row in found] == [(row.label, row.key) for row in rows]
    ours = LabelMap(found)
    assert ours.names == LabelMap(rows).names
    for label in labels:
        number = ours.class_of(description(label).label)
        # Any spelling of a label may be the name of its class.
        assert label_spelling.key(ours.names[number]) == counted(label)[0].key
    for name in ours.names:
        assert name.isprintable()
        assert name.strip() == name != ""


@pytest.mark.parametrize("label", FORMULAS)
def test_no_cell_is_a_formula_for_a_spreadsheet(tmp_path, label):
    counts = LabelCounts()
    counts.add(description(label, text=label))
    path = saved(tmp_path, to_csv(counts.rows()))
    text = path.read_text(encoding="utf-8-sig")
    # Spreadsheets of some countries use the semicolon as delimiter.
    for delimiter in ",;":
        for row in csv.reader(io.StringIO(text), delimiter=delimiter):
            assert not any(cell.lstrip().startswith(tuple("=+-@＝\t")) for cell in row)
    assert LabelMap(read(path)).class_of(label) == 0


# -- reviewed -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        "label,class\ncup,mug\nwall,\n",
        "PK,label,class\n1,cup,mug\n2,wall,\n",
        b"\xef\xbb\xbflabel;count;example;class\r\ncup;3;;mug\r\nwall;2\r\n",
        "label\tclass\ncup\tmug\nwall\t\n".encode("utf-16"),
        'sep=;\r\nLabel ; CLASS\r\n"cup";" mug "\r\n\r\n;\r\nwall;\r\n',
        "class,note,label\rmug,x,cup\r,,wall\r",
        'count,label,class,\n"1,203",cup,mug,,\n2,wall,,,\n',
    ],
    ids=["plain", "starts like a zip", "excel", "utf-16", "sep", "old mac", "more columns"],
)
def test_files_saved_by_spreadsheets_are_read(tmp_path, content):
    assert classes(saved(tmp_path, content)) == {"cup": "mug", "wall": ""}


def test_labels_with_the_same_class_are_merged_in_the_order_of_the_rows(tmp_path):
    path = saved(
        tmp_path, "label,class\nmug,Cup\nwall,\ntable,furniture\nBeaker,cup\nchair,furniture\n"
    )
    reviewed, unlisted = apply(read(path), counted("chair", "mug", "mug", "wall", "lamp", "beaker"))
    found = LabelMap(reviewed)
    assert found.names == ("Cup", "furniture")
    labels = ("mug", "a Beaker", "table", "chair", "wall", "lamp")
    assert [found.class_of(label) for label in labels] == [0, 0, 1, 1, None, None]
    assert [(row.label, row.count) for row in reviewed] == [
        ("mug", 2), ("wall", 1), ("table", 0), ("Beaker", 1), ("chair", 1),
    ]  # fmt: skip
    assert [(row.label, row.count, row.name) for row in unlisted] == [("lamp", 1, UNREVIEWED)]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("", "map.csv: is empty; expected a line with 'label' and 'class' first"),
        ("name,class\ncup,mug\n", "map.csv, line 1: the columns are 'name', 'class'; expected"),
        ("label,class,class\ncup,mug,x\n", "map.csv, line 1: .* once each"),
        ("label,class\n\ncup,big, red mug\n", "map.csv, line 3: 3 cells, expected 2; .*quotes"),
        ("label,class\ncup,mug\n,mug\n", r"map.csv, line 3: no label in \['', 'mug'\]; expected"),
        (
            "label,class\nGrey Cup,mug\nwall,\na gray cup,cup\n",
            "line 4: label 'a gray cup' has class 'cup', but 'Grey Cup' in line 2 has 'mug'; "
            "expected one",
        ),
        ("label,class\ncup,\nwall, \n", "map.csv: no label has a class; expected at least one"),
        ('label,class\ncup,mug\n"wall,x\n', "map.csv, line 3: is no row of a CSV file"),
        ('label,class\ncup,"a "mug""\n', "map.csv, line 2: is no row .* doubled"),
        (b"label,class\ncup,mug\ncaf\xe9,cafe\n", "map.csv, line 3: byte 0xe9 is not UTF-8; .*Ex"),
        (f"label,class\ncup,{'x' * 200_000}\n", "map.csv, line 2: is no row .*limit"),
    ],
)
def test_errors_name_the_line(tmp_path, content, message):
    with pytest.raises(LabelsError, match=message) as found:
        read(saved(tmp_path, content))
    assert "\n" not in str(found.value)


def test_a_missing_file_is_an_error(tmp_path):
    with pytest.raises(LabelsError, match=r"cannot be read .*; expected a labels\.csv"):
        read(tmp_path / "map.csv")
    with pytest.raises(LabelsError, match="cannot be read"):
        read(tmp_path)


# -- kept ---------------------------------------------------------------------------------------


def test_an_edited_file_is_never_overwritten(tmp_path):
    path, other = tmp_path / "labels.csv", tmp_path / "labels_new.csv"
    assert save(tmp_path, counted("cup", "cup", "wall")) == path
    # The file was not edited, although the record of it is missing after a crash.
    (tmp_path / ".replay/labels").unlink()
    assert save(tmp_path, counted("cup", "cup", "wall")) == path
    assert save(tmp_path, counted("wall", "mug")) == path
    assert classes(path) == {"mug": "mug", "wall": "wall"}
    edited = path.read_bytes().replace(b'"A cup.","mug"', b'"A cup.","cup"')
    path.write_bytes(edited)
    assert save(tmp_path, counted("mug", "door")) == other
    assert path.read_bytes() == edited
    assert classes(other) == {"door": "door", "mug": "mug"}
    # An applied file has the present counts, and new labels are at its end.
    reviewed, unlisted = apply(read(path), counted("mug", "mug", "door"))
    assert save(tmp_path, [*reviewed, *unlisted]) == path
    assert classes(path) == {"mug": "cup", "wall": "wall"}
    assert b'"door",1,"A cup.","?"' in path.read_bytes()
    assert not other.exists()
    # An applied file still counts as edited.
    decided = path.read_bytes()
    assert save(tmp_path, counted("mug", "door")) == other
    assert path.read_bytes() == decided
    other.unlink()
    # Removed rows, another order, and edits of the new file count as edits, too.
    edited = b"".join(path.read_bytes().splitlines(keepends=True)[:2])
    path.write_bytes(edited)
    assert save(tmp_path, counted("mug", "wall")) == other
    other.write_bytes(other.read_bytes().replace(b'"mug"', b'"cup"'))
    before = other.read_bytes()
    assert save(tmp_path, counted("door", "wall")) == tmp_path / "labels_new_2.csv"
    assert (path.read_bytes(), other.read_bytes()) == (edited, before)


@pytest.mark.parametrize(
    "content",
    [
        "label,count,example,class,note\ncup,1,,cup,mine\n",
        "not a table at all",
        b"label,count,example,class\ncaf\xe9,1,,x\n",
        "label,count,example,class\ncup,1,,\n",
    ],
)
def test_a_file_of_another_origin_is_not_changed(tmp_path, content):
    path = tmp_path / "labels.csv"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    before = path.read_bytes()
    assert save(tmp_path, [Row(label="cup", count=1, name="cup")]) == tmp_path / "labels_new.csv"
    assert path.read_bytes() == before
