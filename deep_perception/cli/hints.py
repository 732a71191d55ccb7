"""A parser whose errors say what was probably meant."""

from __future__ import annotations

import argparse
import difflib
import re
import sys
from pathlib import Path
from typing import NoReturn

from deep_perception.redaction.output import clean_line
from deep_perception.settings import Settings
from deep_perception.settings.options import SettingsError, options

RECORDINGS = (".mcap", ".db3", ".bag")
CHOICE = re.compile(r"argument COMMAND: invalid choice: '(.*?)' \(")
UNKNOWN = re.compile(r"unrecognized arguments: (.*)", re.DOTALL)


class HintingParser(argparse.ArgumentParser):
    """Adds a hint to an error; without a command, it prints the help of all commands."""

    def error(self, message: str) -> NoReturn:
        """Print the usage and the error with its hint, and end with exit code 2."""
        if "required: COMMAND" in message:
            self.print_help(sys.stderr)  # noqa: TID251  (the package's own text)
            self.exit(2)
        commands = [name for action in self._actions for name in action.choices or ()]
        super().error(clean_line(message + hint(message, commands)))


def check_backends(settings: Settings) -> None:
    """Raise SettingsError for a misspelt backend: its fallback would hide the slip."""
    from deep_perception.backends import problem_of_name
    from deep_perception.describers import REGISTRY as DESCRIBERS
    from deep_perception.segmenters import REGISTRY as SEGMENTERS

    for kind, name, registry in (
        ("segmenter", settings.segmenter.backend, SEGMENTERS),
        ("describer", settings.describer.backend, DESCRIBERS),
    ):
        if problem := problem_of_name(kind, name, registry):
            raise SettingsError(f"{kind}.backend: {problem}")


def hint(message: str, commands: list[str]) -> str:
    """What was probably meant, with a separator in front; "" if there is no guess."""
    if found := CHOICE.search(message):
        return _meant_command(found[1], commands)
    if found := UNKNOWN.search(message):
        for word in found[1].split():
            if word.startswith("--") and (near := near_option(word[2:].split("=")[0])):
                return f"; did you mean --{near}?"
    return ""


def near_option(name: str) -> str:
    """The setting that is meant by another name: its group, its last part or a slip; or ""."""
    names = [option.name for option in options()]
    if f"{name}.backend" in names:
        return f"{name}.backend"
    ends = [each for each in names if each.rsplit(".", 1)[-1] == name.replace("-", "_")]
    if ends:
        return ends[0]
    near = difflib.get_close_matches(name, names, n=1)
    return near[0] if near else ""


def _meant_command(word: str, commands: list[str]) -> str:
    near = difflib.get_close_matches(word, commands, n=1)
    if near:
        return f"; did you mean {near[0]}?"
    path = Path(word)
    if path.suffix in RECORDINGS or (path / "metadata.yaml").exists():
        return f"; did you mean deep_perception replay {word}?"
    if path.suffix or path.exists() or "/" in word:
        return f"; did you mean deep_perception analyze {word}?"
    return ""
