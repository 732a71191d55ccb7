"""Files of prompts."""

import os
from pathlib import Path

import pytest

from deep_perception.backends import BackendUnavailable
from deep_perception.describers.prompts import LARGEST, read_prompt


def pipe(path):
    os.mkfifo(path)


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda path: path.write_bytes(b"x" * (LARGEST + 1)), "is larger than"),
        (lambda path: path.write_bytes(b"caf\xe9"), "utf-8"),
        (lambda path: path.write_bytes(b" \n"), "is empty"),
        (lambda path: path.symlink_to("/dev/zero"), "is no regular file"),
        (Path.mkdir, "is no regular file"),
        (pipe, "is no regular file"),
        (lambda path: None, "No such file"),
    ],
)
def test_what_is_no_prompt_is_refused(make, reason, tmp_path):
    path = tmp_path / "prompt.txt"
    make(path)
    with pytest.raises(BackendUnavailable, match=r"^describer\.prompt: ") as caught:
        read_prompt(str(path))
    assert reason in str(caught.value)


def test_a_refused_path_is_one_line(tmp_path):
    with pytest.raises(BackendUnavailable) as caught:
        read_prompt(f"{tmp_path}/a\nERROR \x1b[2J.txt")
    assert str(caught.value).isprintable()


def test_a_long_prompt_in_any_language_is_read(tmp_path):
    path = tmp_path / "prompt.txt"
    path.write_text("描述。\n" * 5000, encoding="utf-8")
    assert read_prompt(str(path)).startswith("描述。")
