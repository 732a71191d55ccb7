"""``deep_perception``: the command line, without ROS."""

from __future__ import annotations

import argparse
import io
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deep_perception._version import __version__
from deep_perception.backends import BackendUnavailable
from deep_perception.cli.dam import add_dam_server, run_server
from deep_perception.cli.doctor import add_doctor_command, run_doctor
from deep_perception.cli.hints import HintingParser, check_backends
from deep_perception.cli.models import add_models_command
from deep_perception.cli.replay import run_replay
from deep_perception.cli.replay_arguments import add_replay_command
from deep_perception.redaction.output import clean_line, start_logging
from deep_perception.settings import Settings
from deep_perception.settings.options import Option, SettingsError, options, settings_from
from deep_perception.settings.presets import PRESETS
from deep_perception.settings.secrets import register_secrets
from deep_perception.settings.yaml_text import LARGEST, load_yaml

OK, BAD_INPUT = 0, 2


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command, and return 0, or 2 if some input was bad (one line for each fault)."""
    start_logging("deep_perception: %(message)s")
    register_secrets()
    for stream in (sys.stdout, sys.stderr):  # noqa: TID251
        # A file name that the terminal cannot show must not stop the files after it.
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    parser = make_parser()
    chosen = parser.parse_args(arguments)
    try:
        return int(chosen.run(chosen))
    except (SettingsError, BackendUnavailable) as error:
        return _error(str(error))
    except BrokenPipeError:  # `deep_perception settings | head`
        return OK
    except KeyboardInterrupt:
        return _error("interrupted; what was finished is kept")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of all commands."""
    parser = HintingParser(
        prog="deep_perception",
        allow_abbrev=False,
        description="Every part of an image as a mask, a bounding box and a description.",
    )
    parser.add_argument("--version", action="version", version=__version__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    analyze = commands.add_parser(
        "analyze",
        allow_abbrev=False,
        usage="%(prog)s [OPTION ...] IMAGE [IMAGE ...]",
        help="analyse image files",
        description="Sweep and describe image files; a folder stands for the images in it "
        "(without the folders inside of it), and - for standard input. Writes "
        "texts/<name>_analysis_report.txt and .json, images/<name>_visualization.png and "
        "images/<name>_contours_debug.png.",
    )
    analyze.add_argument("images", nargs="+", type=Path, metavar="IMAGE")
    analyze.add_argument(
        "--preset", choices=PRESETS, help="the settings of one of the three original scripts"
    )
    analyze.add_argument("--output", metavar="DIR", help="short for --output.folder")
    _add_options(analyze)
    analyze.set_defaults(run=_analyze)
    replay = add_replay_command(commands)
    _add_options(replay)
    replay.set_defaults(
        run=lambda chosen: run_replay(chosen, _settings(chosen), info=_info, error=_error)
    )
    show = commands.add_parser("settings", help="print every setting as a ROS parameter file")
    show.add_argument("--markdown", action="store_true", help="as a Markdown table")
    show.set_defaults(run=_show_settings)
    doctor = add_doctor_command(commands)
    _add_options(doctor)
    doctor.set_defaults(run=lambda chosen: run_doctor(chosen, _settings(chosen)))
    add_models_command(commands)
    server = add_dam_server(commands)
    _add_options(server, of="describer.dam.", also=("describer.temperature",))
    server.set_defaults(run=lambda chosen: run_server(_settings(chosen)))
    return parser


def _add_options(
    parser: argparse.ArgumentParser, *, of: str = "", also: tuple[str, ...] = ()
) -> None:
    """Add `--settings` and an option for every setting whose name starts with `of`."""
    parser.add_argument(
        "--settings", type=Path, action="append", metavar="YAML",
        help="a file with settings, or with ROS parameters of the analyzer; of several files the "
        "last one wins",
    )  # fmt: skip
    groups: dict[str, Any] = {}
    for option in options():
        head = option.name.split(".")[0]
        if head == "ros" or not (option.name.startswith(of) or option.name in also):
            continue
        group = groups.setdefault(head, parser.add_argument_group(head))
        group.add_argument(
            f"--{option.name}",
            dest=option.name,
            default=None,
            type=_reader(option),
            choices=option.choices or None,
            metavar=None if option.choices else option.kind.__name__.upper(),
            help=f"{option.help} (default {option.default}; {option.expected})".replace("%", "%%"),
        )


def _reader(option: Option) -> Any:
    if option.kind is not bool:
        return option.kind

    def boolean(text: str) -> bool:
        if text.lower() not in ("true", "false"):
            raise argparse.ArgumentTypeError(f"{text!r}: expected true or false")
        return text.lower() == "true"

    return boolean


def _settings(chosen: argparse.Namespace) -> Settings:
    changes: dict[str, Any] = {}
    if preset := getattr(chosen, "preset", None):
        changes.update(PRESETS[preset])
    for file in chosen.settings or ():
        changes.update(_read_settings(file))
    if output := getattr(chosen, "output", None):
        changes["output.folder"] = output
    given = vars(chosen)
    names = (option.name for option in options())
    changes.update({name: given[name] for name in names if given.get(name) is not None})
    settings = settings_from(changes)
    register_secrets(settings)
    return settings


def _read_settings(file: Path) -> dict[str, Any]:
    try:
        with file.open(encoding="utf-8-sig") as stream:
            return load_yaml(stream.read(LARGEST + 1))
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file}: cannot be read ({error})") from None
    except SettingsError as error:
        raise SettingsError(f"{file}: {error}") from None


def _analyze(chosen: argparse.Namespace) -> int:
    # This import is slow; --help and a bad setting are answered without it.
    from deep_perception.cli.analyze import analyze_files

    settings = _settings(chosen)
    check_backends(settings)
    failed = analyze_files(chosen.images, settings, info=_info, error=_error)
    return BAD_INPUT if failed else OK


def _show_settings(chosen: argparse.Namespace) -> int:
    from deep_perception.settings.yaml_text import to_markdown, to_ros_yaml

    sys.stdout.write(to_markdown() if chosen.markdown else to_ros_yaml())  # noqa: TID251
    return OK


def _info(line: str) -> None:
    from tqdm import tqdm

    try:
        tqdm.write(clean_line(line))
    except BrokenPipeError:
        # The reader has ended, as in `| head`; the work continues without output.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # noqa: TID251


def _error(message: str) -> int:
    from tqdm import tqdm

    tqdm.write(clean_line(f"deep_perception: {message}"), file=sys.stderr)  # noqa: TID251
    return BAD_INPUT
