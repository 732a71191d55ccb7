"""The script that asks pip for wheels knows all runtime requirements of setup.py."""

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


def test_every_runtime_requirement_is_asked_for_and_those_of_tests_are_not(monkeypatch):
    pytest.importorskip("setuptools")
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    import check_python314

    asked = check_python314.requirements()
    assert asked.keys() == {"(always)", "chat", "hub", "ray", "replay", "sam2"}
    assert any(line.startswith("numpy>=") for line in asked["(always)"])
    page = (ROOT / "docs/distributions.md").read_text(encoding="utf-8")
    for line in {line for lines in asked.values() for line in lines}:
        assert f"| `{line}` |" in page, "run tools/check_python314.py and update the page"
