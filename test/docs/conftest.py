"""What the tests of the documents share."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def generator(monkeypatch):
    """The module tools/generate_docs.py."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import generate_docs

    return generate_docs
