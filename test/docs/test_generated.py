"""The files that tools/generate_docs.py writes are up to date, on any terminal."""

import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.mark.parametrize("columns", ["20", "200"])
def test_no_generated_file_is_stale_whatever_the_width_of_the_terminal(
    generator, monkeypatch, columns
):
    monkeypatch.setenv("COLUMNS", columns)
    for path, text in generator.generated().items():
        assert path.read_text(encoding="utf-8") == text, "run: python tools/generate_docs.py"


def test_check_names_a_stale_file_and_writes_nothing(generator, monkeypatch, tmp_path, capsys):
    page = tmp_path / "page.md"
    page.write_text("old\n")
    monkeypatch.setattr(generator, "ROOT", tmp_path)
    monkeypatch.setattr(generator, "generated", lambda: {page: "new\n"})
    monkeypatch.setattr(sys, "argv", ["generate_docs.py", "--check"])
    assert generator.main() == 1
    assert (page.read_text(), capsys.readouterr().out) == ("old\n", "stale: page.md\n")

    monkeypatch.setattr(sys, "argv", ["generate_docs.py"])
    assert generator.main() == 0
    assert page.read_text() == "new\n"

    monkeypatch.setattr(sys, "argv", ["generate_docs.py", "--check"])
    assert generator.main() == 0


def test_the_command_line_page_lists_every_command_and_its_own_options(generator):
    page = generator.command_line_page()
    for command in ("analyze", "replay", "settings", "models fetch", "models setup-dam"):
        assert f"## deep_perception {command}\n" in page
    for option in ("--preset", "--topic NAME", "--export NAMES", "--accept-licence"):
        assert option in page
    assert "Only one of `--resume` and `--overwrite` can be given." in page
