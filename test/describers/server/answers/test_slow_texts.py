"""No text of a server makes reading it slow: the time grows no faster than its length."""

import json
import time

import pytest

from support.answers import RIGHT, read

LENGTH = 40_000
# Reading takes some 0.1 s; a pattern that tries all ways to match takes minutes.
ENOUGH_S = 3.0
VARIED = " ".join(f"word{number * 7919 % 1000} of {number}" for number in range(160))


@pytest.mark.parametrize(
    "unit",
    ["{", '{"a":', '{"label":"', "{,", "\\boxed{", "$", "<", "<b>", "<think>{}", "</s>", "a<|end|>",
     "__a ", "**a", "\n", "\n ", "1.\n", "> ", "```", "//", "/*", "嗯", "A b. ", "1 ", ". "],
)  # fmt: skip
def test_a_long_text_is_read_in_time(unit):
    text = (unit * LENGTH)[:LENGTH]
    started_s = time.process_time()
    for content in (f"{VARIED}\n{text}x", f"{{{text}}}", f"<details {text}"):
        read(content)
    # A caption is short, but a pattern may take all ways to match for that, too.
    read(json.dumps({"label": "red cup", "caption": f"{text[:60]} Claro"}))
    assert time.process_time() - started_s < ENOUGH_S


def test_the_object_behind_a_long_draft_is_the_answer():
    draft = f"{VARIED} " * 10
    assert read(f"{draft}\n{RIGHT}") == ("red cup", "A red cup.", False)
    assert "characters" in read(draft)
