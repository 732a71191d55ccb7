"""Text, JSON, files and compressed data of others."""

import json
import os
import subprocess
import sys
import zlib
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import inflate, read_file
from deep_perception.untrusted.json_reader import MAX_DEPTH, read_json
from deep_perception.untrusted.text import listed, printable

ROOT = Path(__file__).parents[2]

# -- text -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("bgr8", "bgr8"),
        ("a cup, 3 € (é)", "a cup, 3 € (é)"),
        ("杯子\u3000と", "杯子\u3000と"),
        ("می\u200cخواهم", "می\u200cخواهم"),
        ("👩\u200d🚀", "👩\u200d🚀"),
        ("line\nINFO all is well", "line\\nINFO all is well"),
        ("\x1b[2J\x9b1m\x07", "\\x1b[2J\\x9b1m\\x07"),
        ("a\u202egnp.exe", "a\\u202egnp.exe"),
        ("a\u2028b\u2029c\u0085d", "a\\u2028b\\u2029c\\x85d"),
        ("\ud800", "\\ud800"),
        ("\U000e0041", "\\U000e0041"),
        ("zero\u200bwidth\ufeff", "zero\\u200bwidth\\ufeff"),
        ("❤\ufe0f\u200d🔥 1\ufe0f\u20e3", "❤\ufe0f\u200d🔥 1\ufe0f\u20e3"),
        ("ab\u200c\u200d", "ab\\u200c\\u200d"),
        ("é\u200c\u200d\ufe01", "é\u200c\\u200d\\ufe01"),
        ("👍" + "\U000e0150" * 2, "👍\U000e0150\\U000e0150"),
        ("\u3164\u2800\u034f", "\\u3164\\u2800\\u034f"),
        (r"C:\temp", r"C:\temp"),
        ("x" * 61, "x" * 60 + "… (61 characters)"),
        ("x" * 5_000_000, "x" * 60 + "… (5000000 characters)"),
        ("x" * 58 + "\x1b", "x" * 58 + "… (59 characters)"),
    ],
)
def test_text_is_shown_as_one_harmless_line(text, shown):
    assert printable(text) == shown


@given(st.text(st.characters(), max_size=100), st.integers(1, 80))
def test_shown_text_can_be_written_anywhere(text, limit):
    shown = printable(text, limit)
    shown.encode("utf-8")
    assert len(shown.splitlines()) <= 1
    assert len(shown) <= limit + len("… (100 characters)")


def test_a_list_of_names_is_bounded():
    assert listed(["/front", "/rear"]) == "/front, /rear"
    assert listed({"/a": 1, "/b\n": 2}, separator=" and ") == "/a and /b\\n"
    many = listed([f"/node{number}" for number in range(10_000)])
    assert many == "/node0, /node1, /node2, /node3, /node4 and 9995 more"
    assert len(listed(["x" * 5_000_000] * 100)) < 2000


# -- JSON -----------------------------------------------------------------------------------------


def test_what_json_can_say_is_read():
    value = {"a": [1, 2.5, None, True, "é\n"], "": {}}
    assert read_json(json.dumps(value)) == value
    assert read_json(json.dumps(value).encode("utf-16")) == value
    assert read_json('{"a": NaN, "b": -Infinity}') == {"a": None, "b": None}
    assert read_json(r'{"\ud800": ["\udfffx"]}') == {"\ufffd": ["\ufffdx"]}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "is no JSON"),
        (b"\xff\xfe\xff", "is no JSON"),
        ("{'a': 1}", "is no JSON"),
        ("1" * 5000, "is no JSON"),
        ("[" * (MAX_DEPTH + 2) + "]" * (MAX_DEPTH + 2), "within each other"),
        ("[" * 100_000, "within each other"),
        ('{"a":' * 100_000, "within each other"),
        (" " * (1 << 20) + "1", "1048577 bytes"),
    ],
)
def test_other_text_is_refused(text, reason):
    with pytest.raises(UntrustedError, match=reason):
        read_json(text)


# -- limits ---------------------------------------------------------------------------------------


def test_a_bomb_is_not_inflated():
    assert inflate(zlib.compress(b"x" * 1000), 1000) == b"x" * 1000
    with pytest.raises(UntrustedError, match="larger than 999 bytes"):
        inflate(zlib.compress(b"x" * 1000), 999)
    with pytest.raises(UntrustedError, match="larger than 1 MB"):
        inflate(zlib.compress(bytes(50_000_000)), 10**6)
    with pytest.raises(UntrustedError, match="breaks off"):
        inflate(zlib.compress(b"some text")[:-1], 1000)
    with pytest.raises(UntrustedError, match="is broken"):
        inflate(b"no zlib", 1000)


def test_a_file_is_read_up_to_a_limit(tmp_path):
    file, pipe = tmp_path / "file", tmp_path / "pipe"
    file.write_bytes(b"12345")
    os.mkfifo(pipe)
    assert read_file(file, 5) == b"12345"
    with pytest.raises(UntrustedError, match="larger than 4 bytes"):
        read_file(file, 4)
    for path in (pipe, tmp_path):
        with pytest.raises(UntrustedError, match="no regular file"):
            read_file(path, 5)
    with pytest.raises(FileNotFoundError):
        read_file(tmp_path / "missing", 5)


def test_the_door_and_the_exits_need_the_standard_library_only():
    """The DAM server uses them in an environment without this package's libraries."""
    names = [".".join(path.relative_to(ROOT).with_suffix("").parts)
             for folder in ("untrusted", "redaction")
             for path in (ROOT / "deep_perception" / folder).glob("*.py")]  # fmt: skip
    code = f"import sys; sys.path.insert(0, {str(ROOT)!r}); import {', '.join(names)}"
    subprocess.run([sys.executable, "-I", "-S", "-c", code], check=True)
