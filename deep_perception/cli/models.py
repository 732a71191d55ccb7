"""``deep_perception models list|fetch|verify|remove|setup-dam``."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deep_perception.checkpoints.catalog import CATALOGUE, Model, ModelError, find_model, megabytes
from deep_perception.cli.dam import add_setup_dam
from deep_perception.redaction.output import print_json, print_line

OK, FAILED = 0, 2


def add_models_command(commands: Any) -> None:
    """Add `models` to a parser's sub-commands."""
    models = commands.add_parser(
        "models",
        help="download and check model weights",
        description="List, download, check and delete model weights.",
    )
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = _action(actions, "list", _list, "list the models and their state on disk")
    _add_json(listing)
    fetch = _action(actions, "fetch", _fetch, "download models, and resume interrupted downloads")
    fetch.add_argument("models", nargs="+", metavar="NAME", help="e.g. sam2.1-hiera-tiny, dam")
    fetch.add_argument(
        "--revision",
        default="",
        help="another revision than the pinned one (a commit, a tag, main), compared with the "
        "checksums that the hub reports",
    )
    fetch.add_argument(
        "--accept-licence",
        action="store_true",
        help="accept the licence of models that require it (DAM) without a question",
    )
    verify = _action(actions, "verify", _verify, "compare all files with the published checksums")
    verify.add_argument("models", nargs="*", metavar="NAME", help="default: all on disk")
    _add_json(verify)
    remove = _action(actions, "remove", _remove, "delete a model from disk")
    remove.add_argument("models", nargs=1, metavar="NAME")
    remove.add_argument("--yes", action="store_true", help="do not ask for confirmation")
    add_setup_dam(actions)


def _action(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--folder", type=Path, default=Path("checkpoints"), help="default: checkpoints"
    )
    parser.set_defaults(run=lambda arguments: _run_action(run, arguments))
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="print JSON")


def _run_action(run: Any, arguments: argparse.Namespace) -> int:
    try:
        return int(run(arguments))
    except ModelError as error:
        return _error(str(error))


def _list(arguments: argparse.Namespace) -> int:
    from deep_perception.checkpoints.on_disk import inspect

    found = [inspect(model, arguments.folder) for model in CATALOGUE]
    if arguments.json:
        print_json([_as_dict(item) for item in found])
        return OK
    rows = [("NAME", "SIZE", "ON DISK", "LICENCE", "WHERE")]
    rows += [(i.model.name, _size(i.model), _state(i), i.model.licence, str(i.path)) for i in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        print_line("  ".join(cells).rstrip())
    return OK


def _fetch(arguments: argparse.Namespace) -> int:
    # huggingface_hub reads the variable when it is imported. Without it, each download first
    # requests a list of AI agents from the hub, which delays the error of a dead network by 3 s.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from deep_perception.checkpoints.download import fetch
    from deep_perception.checkpoints.errors import resume_hint

    models = _models(arguments.models)
    for model in models:
        _accept_licence(model, arguments)
    for model in models:
        try:
            done = fetch(model, arguments.folder, revision=arguments.revision)
        except KeyboardInterrupt:
            hint = resume_hint(arguments.folder / model.name)
            raise ModelError(f"{model.name}: interrupted{hint}") from None
        print_line(f"{model.name}: {megabytes(done.size)} in {done.path}, {_checked(done)}")
    return OK


def _accept_licence(model: Model, arguments: argparse.Namespace) -> None:
    """Show the terms of a model's licence before its first download, and ask to accept them."""
    from deep_perception.checkpoints.record import LOCK

    if not model.terms or (arguments.folder / model.name / LOCK).exists():
        return
    for line in model.terms.splitlines():
        print_line(line, is_error=True)
    if not arguments.accept_licence:
        _confirm(
            "Do you accept this licence?",
            no_terminal=f"{model.name}: there is no terminal to ask for confirmation; add "
            "--accept-licence if you accept its licence",
            refused=f"{model.name}: its licence was not accepted, nothing was downloaded",
        )


def _verify(arguments: argparse.Namespace) -> int:
    from deep_perception.checkpoints.on_disk import inspect, verify

    models = _models(arguments.models) or [
        model for model in CATALOGUE if inspect(model, arguments.folder).state != "absent"
    ]
    found = [verify(model, arguments.folder) for model in models]
    complete = [
        item
        for item in found
        if item.state == "complete" or (item.state == "unverified" and item.model.files)
    ]
    if arguments.json:
        print_json([_as_dict(item) for item in found])
        return OK if len(complete) == len(found) else FAILED
    if not found:
        print_line(f"{arguments.folder}: there is no model")
    for item in found:
        if item in complete:
            print_line(f"{item.model.name}: {_checked(item)}")
        else:
            reasons = item.problems or (
                ("its checksums are unknown",) if item.state == "unverified" else ()
            )
            problems = f" ({'; '.join(reasons)})" if reasons else ""
            _error(
                f"{item.model.name}: {item.state}{problems}; download it with: "
                f"{_command(item.model, arguments.folder)}"
            )
    return OK if len(complete) == len(found) else FAILED


def _remove(arguments: argparse.Namespace) -> int:
    from deep_perception.checkpoints.on_disk import inspect, remove

    (model,) = _models(arguments.models)
    there = inspect(model, arguments.folder)
    if not arguments.yes and (there.path.is_dir() or there.path.is_symlink()):
        _confirm(
            f"Delete {there.path} ({megabytes(there.size)})?",
            no_terminal="there is no terminal to ask for confirmation; add --yes to delete",
            refused="nothing was deleted",
        )
    done = remove(model, arguments.folder)
    if done.was_link:
        print_line(f"{done.path}: the link was removed, its target was not")
    elif done.left:
        left = ", ".join(done.left)
        print_line(f"{done.path}: {megabytes(done.size)} removed; files of others are left: {left}")
    else:
        print_line(f"{done.path}: {megabytes(done.size)} removed")
    return OK


def _confirm(question: str, *, no_terminal: str, refused: str) -> None:
    if not sys.stdin.isatty():
        raise ModelError(no_terminal)
    print_line(f"{question} [y/N]", is_error=True, end=" ")
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise ModelError(refused)


def _models(names: Sequence[str]) -> list[Model]:
    return list(dict.fromkeys(find_model(name) for name in names))


def _command(model: Model, folder: Path) -> str:
    where = "" if folder == Path("checkpoints") else f" --folder {folder}"
    return f"deep_perception models fetch {model.name}{where}"


def _size(model: Model) -> str:
    return megabytes(model.size) if model.files else f"about {megabytes(model.size)}"


def _checked(item: Any) -> str:
    """Say which checksums the files were compared with: those of the pin or of the hub."""
    origin = " that of the hub; there is no pin" if item.checked_against == "hub" else ""
    return f"every checksum matches{origin} (revision {item.revision[:7]})"


def _state(item: Any) -> str:
    if item.state == "partial":
        return f"partial ({100 * item.size / item.model.size:.0f} %)"
    return str(item.state)


def _as_dict(item: Any) -> dict[str, Any]:
    return {
        "name": item.model.name,
        "repo": item.model.repo,
        "revision": item.revision,
        "checked_against": item.checked_against,
        "licence": item.model.licence,
        "size": item.model.size,
        "state": item.state,
        "size_on_disk": item.size,
        "folder": str(item.path),
        "problems": list(item.problems),
    }


def _error(line: str) -> int:
    print_line(f"deep_perception: {line}", is_error=True)
    return FAILED
