"""The examples of README.md and docs/: Python is run, commands and parameters must exist.

A ```python block that needs a server or ROS has `<!-- compiled only -->` in the line before it.
"""

import re
import shlex
import shutil
from pathlib import Path

import pytest

from deep_perception.cli import main as command_line
from deep_perception.settings.options import find, settings_from

ROOT = Path(__file__).parents[2]
PAGES = [
    ROOT / "README.md",
    ROOT / "CONTRIBUTING.md",
    ROOT / "checkpoints/README.md",
    *sorted((ROOT / "docs").glob("*.md")),
]
SETTING = r"(points|sweep|segmenter|describer|keyframes|identity|ros)\.(?!py$)\w[\w.]*"
COMPILED_ONLY = "<!-- compiled only -->"
# The page on custom backends names the module of the exception that a backend raises.
DEEP_IMPORTS = {"custom_backends.md": {"deep_perception.backends"}}


def blocks(kind):
    """Yield a pytest parameter (page, first line, text, line before) for each block of a kind."""
    for page in PAGES:
        text = page.read_text(encoding="utf-8")
        for found in re.finditer(r"^```(\w+)[^\n]*\n(.*?)^```$", text, re.M | re.S):
            if found[1] != kind:
                continue
            above = text[: found.start()].rstrip().rpartition("\n")[2]
            line = text.count("\n", 0, found.start()) + 2
            name = f"{page.relative_to(ROOT)}:{line}"
            yield pytest.param(page, line, found[2], above == COMPILED_ONLY, id=name)


@pytest.mark.parametrize(("page", "line", "text", "compiled_only"), list(blocks("python")))
def test_python_examples_run_and_import_only_the_public_names(
    page, line, text, compiled_only, tmp_path, monkeypatch
):
    # The line numbers of a traceback are those of the page.
    code = compile("\n" * (line - 1) + text, str(page), "exec")
    imported = set(re.findall(r"^(?:from|import) (deep_perception\.[\w.]+)", text, re.M))
    assert imported <= DEEP_IMPORTS.get(page.name, set())
    if compiled_only:
        return
    shutil.copy(ROOT / "test/data/coffee.jpg", tmp_path / "photo.jpg")
    if "scenes.jsonl" in text:
        pytest.importorskip("rosbags")
        from support import bags

        bags.write_bag(tmp_path / "drive1", bags.moving_scene(2))
        output = str(tmp_path / "results")
        assert command_line.main(["replay", str(tmp_path / "drive1"), "--output", output]) == 0
    monkeypatch.chdir(tmp_path)
    exec(code, {"__name__": "__main__"})


def commands(text):
    """The commands of a shell block that begin with deep_perception, as lists of arguments."""
    for line in text.replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] == ["tools/with_ros"]:
            words = words[1:]
        if words[:1] == ["deep_perception"]:
            redirected = words.index(">") if ">" in words else len(words)
            yield words[1:redirected]


@pytest.mark.parametrize(("page", "line", "text", "compiled_only"), list(blocks("bash")))
def test_commands_are_accepted_by_the_argument_parser(
    page, line, text, compiled_only, generator, capsys
):
    parser = generator.parser()
    for arguments in commands(text):
        try:
            chosen = parser.parse_args(arguments)
        except SystemExit as end:
            assert end.code == 0, f"{arguments}: {capsys.readouterr().err}"  # --help
        else:
            settings_from(
                {
                    name: value
                    for name, value in vars(chosen).items()
                    if "." in name and value is not None
                }
            )


@pytest.mark.parametrize(("page", "line", "text", "compiled_only"), list(blocks("bash")))
def test_ros_parameters_in_commands_exist(page, line, text, compiled_only):
    for name in re.findall(r"-p ['\"]?([\w.]+):=", text):
        find(name)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_options_and_settings_named_in_the_text_exist(page, generator):
    known = {*generator.option_strings(), "--version"}
    text = re.sub(r"^```.*?^```$", "", page.read_text(encoding="utf-8"), flags=re.M | re.S)
    for span in re.findall(r"`([^`\n]+)`", text):
        if span.startswith(("--", "deep_perception ", "tools/with_ros deep_perception ")):
            options = re.findall(r"(?<![\w-])--[a-z][\w.-]*\w", span)
            assert set(options) <= known | OPTIONS_OF_OTHER_PROGRAMS, span
        if re.fullmatch(SETTING, span):
            find(span)


OPTIONS_OF_OTHER_PROGRAMS = {"--base-paths", "--clock", "--show-args", "--check", "--strict"}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_to_files_of_the_repository_lead_somewhere(page):
    text = page.read_text(encoding="utf-8")
    for target in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", text):
        if "://" not in target:
            assert (page.parent / target).exists(), target


def test_the_modules_that_the_architecture_page_names_exist():
    text = (ROOT / "docs/architecture.md").read_text(encoding="utf-8")
    places = [ROOT, ROOT / "deep_perception"]
    for name in re.findall(r"`([\w/]+(?:\.py|/))`", text):
        found = [*(place / name for place in places), *(ROOT / "deep_perception").rglob(name)]
        assert any(path.exists() for path in found), name


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text(encoding="utf-8").splitlines()) <= 180
