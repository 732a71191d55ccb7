"""The descriptions that are cached in memory, and their keys."""

import numpy as np
import pytest

from deep_perception.describers.cache.memory import DescriptionCache, key_of
from support.cached_descriptions import cup, key, run

pytestmark = pytest.mark.usefixtures("quick_retries")


def test_the_memory_keeps_the_most_recently_used_descriptions():
    cache = DescriptionCache(2, "")
    steps = [(key(1), cup(1)), (key(2), cup(2)), (key(1), cup(9)), (key(3), cup(3)),
             (key(1), cup(9)), (key(2), cup(22))]  # fmt: skip
    assert run(cache, *steps) == [cup(1), cup(2), cup(1), cup(3), cup(1), cup(22)]
    assert (cache.hits, cache.misses) == (2, 4)


def test_keys_differ_by_the_ends_of_texts_and_by_shape():
    a, b = np.zeros((2, 3, 3), np.uint8), np.zeros((3, 2, 3), np.uint8)
    keys = [key_of(["ab", "c"], []), key_of(["a", "bc"], []), key_of([], [a]), key_of([], [b]),
            key_of([], [a, a]), key_of([], [a + 1])]  # fmt: skip
    assert len(set(keys)) == len(keys)
    assert key_of(["x"], [a]) == key_of(["x"], [np.asfortranarray(a)])
