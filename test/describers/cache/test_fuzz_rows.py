"""Whatever a row of a shared cache holds, it is a description like an answer's, or no row."""

import dataclasses
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deep_perception.describers.cache.rows import ANSWER, ANY, read_row, write_row
from support.cached_descriptions import CUP

pytestmark = pytest.mark.fuzz

FIELDS = dataclasses.asdict(CUP)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters()),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=10,
)


@pytest.mark.parametrize("limits", [ANSWER, ANY])
@given(name=st.sampled_from(sorted(FIELDS)) | st.text(max_size=3), value=VALUES)
def test_a_row_with_anything_in_a_field(limits, name, value):
    words = read_row(json.dumps({**FIELDS, name: value}).encode(), limits)
    if words is not None:
        assert words.status == "described"
        assert not {*words.text} & {"\x1b", "\u202e", "\r", "\x9b", "\u2028"}
        assert read_row(write_row(words, limits).encode(), limits) == words


@given(st.binary() | VALUES.map(lambda value: json.dumps(value).encode()) | VALUES)
def test_a_row_of_anything(data):
    assert read_row(data, ANY) is None
