"""``deep_perception models setup-dam`` and ``deep_perception dam-server``."""

from __future__ import annotations

import argparse
import os
import sys
from typing import Any

from deep_perception.checkpoints.catalog import ModelError
from deep_perception.redaction.output import flush, print_line
from deep_perception.settings import DamSettings, Settings

OK, FAILED = 0, 2


def add_setup_dam(actions: Any) -> None:
    """Add `setup-dam` to the actions of `models`."""
    default = DamSettings().environment
    parser = actions.add_parser(
        "setup-dam",
        help="create the Python environment of the DAM server (some GB)",
        description="Create the Python environment of the DAM server from PyPI. An interrupted run "
        "is resumed, and a complete environment is only checked.",
    )
    parser.add_argument("--environment", metavar="DIR", default=default, help=f"default: {default}")
    parser.add_argument(
        "--python",
        metavar="PATH",
        default=sys.executable,
        help="the Python to create it with, 3.10 to 3.13; default: the one that runs this command",
    )
    parser.set_defaults(run=_setup)


def add_dam_server(commands: Any) -> argparse.ArgumentParser:
    """Add `dam-server` to the commands. The caller adds the options of its settings."""
    parser: argparse.ArgumentParser = commands.add_parser(
        "dam-server",
        allow_abbrev=False,
        help="run the DAM server in the foreground",
        description="Run the DAM server in the foreground at describer.dam.url, for one node or "
        "for several, which find it at this address.",
    )
    return parser


def run_server(settings: Settings) -> int:
    """Replace this process by the server. Raises BackendUnavailable if something is missing."""
    from deep_perception.describers.dam.environment import server_variables
    from deep_perception.describers.dam.launch import server_command

    command = server_command(settings.describer)
    flush()
    os.execve(command[0], command, server_variables(settings.describer.dam.api_key_env))


def _setup(arguments: argparse.Namespace) -> int:
    from deep_perception.describers.dam.environment import path_of, set_up

    try:
        set_up(path_of(arguments.environment), arguments.python, print_line)
    except ModelError as error:
        print_line(f"deep_perception: {error}", is_error=True)
        return FAILED
    return OK
