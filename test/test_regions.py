"""What a describer says becomes a description that can be written, sent and shown."""

import dataclasses
import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception import Description
from deep_perception.regions import (
    MAX_ATTRIBUTES,
    MAX_LABEL,
    MAX_NAME,
    MAX_TEXT,
    MAX_VALUE,
    Scene,
)
from deep_perception.untrusted.words import JOINERS, VISIBLE_FORMAT

TEXT = st.text(st.characters(), min_size=1, max_size=60) | st.sampled_from(
    ["y" * 1_000_000, "\u200b" * 1_000_000, "\x1b]0;x", "\ud800", "\0", "a\nb", "\U000e0041"]
)


def is_harmless(text):
    text.encode()
    return not any(
        unicodedata.category(one) in ("Cc", "Cs", "Zl", "Zp")
        or (unicodedata.category(one) == "Cf" and one not in JOINERS + VISIBLE_FORMAT)
        for one in text
    )


@given(label=TEXT, text=TEXT, name=TEXT, attributes=st.dictionaries(TEXT, TEXT, max_size=4))
def test_any_texts_become_harmless_lines(label, text, name, attributes):
    made = Description(
        status="described", label=label, text=text, attributes=attributes, describer=name,
        model=name, prompt_id=name,
    )  # fmt: skip
    assert made.label and made.text
    for value, limit in (
        (made.label, MAX_LABEL), (made.text, MAX_TEXT), (made.describer, MAX_NAME),
        (made.model, MAX_NAME), (made.prompt_id, MAX_NAME),
        *((key, MAX_NAME) for key in made.attributes),
        *((each, MAX_VALUE) for each in made.attributes.values()),
    ):  # fmt: skip
        assert is_harmless(value)
        # A text that nobody could see is shown as escapes, with its length.
        assert len(value) <= limit + len("… (1000000 characters)")
    # Nothing changes when it is written and read again.
    assert Description(**{**vars(made)}) == made


@given(TEXT)
def test_any_error_becomes_a_harmless_line(error):
    made = Description(status="failed", error=error)
    assert is_harmless(made.error)
    assert 0 < len(made.error) < 4100


def test_only_so_many_attributes_are_kept():
    many = {f"attribute {number}": "x" for number in range(10_000)}
    made = Description(status="described", label="mug", text="A mug.", attributes=many)
    assert list(made.attributes) == [f"attribute {number}" for number in range(MAX_ATTRIBUTES)]


def test_honest_words_are_kept_as_they_are():
    text = "A café’s red mug, 9.5 cm — “très joli”. " * 20
    for label in ("a mug", "マグカップ", "نیم\u200cفنجان", "केला", "👩\u200d🚀", "C# book", "π ≤ 4"):
        made = Description(status="described", label=label, text=text.strip())
        assert (made.label, made.text) == (label, text.strip())


def test_a_text_that_nobody_could_see_keeps_its_limit():
    made = Description(status="described", label="\u200b" * 500, text="\u200b" * 50_000)
    assert made.label.startswith("\\u200b") and len(made.label) == MAX_LABEL
    assert made.text.endswith("…") and len(made.text) == MAX_TEXT
    assert dataclasses.replace(made) == made


@pytest.mark.parametrize(
    "wrong",
    [
        {"status": "described\n[INFO]"},
        {"status": "done"},
        {"latency_s": float("nan")},
        {"latency_s": float("inf")},
        {"latency_s": -1.0},
        {"latency_s": 1e12},
    ],
)
def test_values_that_no_message_can_hold_are_refused(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        Description(**{"status": "described", "label": "mug", "text": "A mug.", **wrong})


@pytest.mark.parametrize("label", [b"mug", None, 3, ["mug"]])
def test_what_is_no_text_is_refused_without_being_quoted_at_length(label):
    with pytest.raises(TypeError, match=r"label of a description is .*; expected a text"):
        Description(status="described", label=label, text="A mug.")
    with pytest.raises(TypeError) as refused:
        Description(status="described", label=b"\x1b" * 1_000_000, text="A mug.")
    assert len(str(refused.value)) < 200


def test_the_texts_of_a_scene_are_harmless_as_well():
    scene = Scene(
        size=(4, 4), working_size=(4, 4), regions=(), coverage=0.0, skipped_points=(),
        proposed_points=0, segmenter="own\ud800\n", segmenter_model="\x1b[2J" + "y" * 1_000_000,
        warnings=("broken\n[INFO] all is well" + "y" * 1_000_000,),
    )  # fmt: skip
    texts = (scene.segmenter, scene.segmenter_model, *scene.warnings)
    assert all(map(is_harmless, texts))
    assert max(map(len, texts)) < 4100
    assert scene.segmenter == "own\ufffd"
