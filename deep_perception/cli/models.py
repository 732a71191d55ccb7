"""``deep_perception models list|fetch|verify|remove|setup-dam``."""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from deep_perception.checkpoints.catalog import CATALOGUE, Model, ModelError, find_model, megabytes
from deep_perception.cli.dam import add_setup_dam

OK, FAILED = 0, 2


def add_models_command(commands: Any) -> None:
    """Add `models` to a parser's sub-commands."""
    models = commands.add_parser(
        "models",
        help="get and check model weights",
        description="Model weights: what there is, getting, checking and deleting them.",
    )
    actions = models.add_subparsers(required=True, metavar="ACTION")
    listing = _action(actions, "list", _list, "what there is and what is on disk")
    _add_json(listing)
    fetch = _action(actions, "fetch", _fetch, "download (goes on where a download was cut)")
    fetch.add_argument("models", nargs="+", metavar="NAME", help="e.g. sam2.1-hiera-tiny, dam")
    fetch.add_argument(
        "--revision",
        default="",
        help="another revision than the pinned one (a commit, a tag, main), checked against what "
        "the hub announces",
    )
    fetch.add_argument(
        "--accept-licence",
        action="store_true",
        help="agree to the licence of models that ask for it (DAM), for scripts",
    )
    verify = _action(actions, "verify", _verify, "compare every byte with the published checksums")
    verify.add_argument("models", nargs="*", metavar="NAME", help="default: all on disk")
    _add_json(verify)
    remove = _action(actions, "remove", _remove, "delete from disk")
    remove.add_argument("models", nargs=1, metavar="NAME")
    remove.add_argument("--yes", action="store_true", help="do not ask")
    add_setup_dam(actions)


def _action(actions: Any, name: str, run: Any, text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = actions.add_parser(name, help=text, description=text)
    parser.add_argument(
        "--folder", type=Path, default=Path("checkpoints"), help="default: checkpoints"
    )
    parser.set_defaults(run=lambda chosen: _guarded(run, chosen))
    return parser


def _add_json(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--json", action="store_true", help="for programs")


def _guarded(run: Any, chosen: argparse.Namespace) -> int:
    try:
        return int(run(chosen))
    except ModelError as error:
        return _complain(str(error))


def _list(chosen: argparse.Namespace) -> int:
    from deep_perception.checkpoints.on_disk import inspect

    found = [inspect(model, chosen.folder) for model in CATALOGUE]
    if chosen.json:
        _say(json.dumps([_as_dict(item) for item in found], indent=2))
        return OK
    rows = [("NAME", "SIZE", "ON DISK", "LICENCE", "WHERE")]
    rows += [(i.model.name, _size(i.model), _state(i), i.model.licence, str(i.path)) for i in found]
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    for row in rows:
        cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
        _say("  ".join(cells).rstrip())
    return OK


def _fetch(chosen: argparse.Namespace) -> int:
    # Read when huggingface_hub is imported. Without it, the hub is asked first for a list of AI
    # agents, to be told which one calls: 3 s more until a dead network is noticed.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    from deep_perception.checkpoints.download import fetch
    from deep_perception.checkpoints.errors import kept

    models = _models(chosen.models)
    for model in models:
        _agree(model, chosen)
    for model in models:
        try:
            done = fetch(model, chosen.folder, revision=chosen.revision)
        except KeyboardInterrupt:
            tail = kept(chosen.folder / model.name)
            raise ModelError(f"{model.name}: interrupted{tail}") from None
        _say(f"{model.name}: {megabytes(done.size)} in {done.path}, {_checked(done)}")
    return OK


def _agree(model: Model, chosen: argparse.Namespace) -> None:
    """Show what a model's licence asks for, and have it accepted, before the first fetch."""
    from deep_perception.checkpoints.record import LOCK

    if not model.terms or (chosen.folder / model.name / LOCK).exists():
        return
    sys.stderr.write(model.terms + "\n")
    if not chosen.accept_licence:
        _ask(
            "Do you accept this licence?",
            alone=f"{model.name}: nobody can be asked here; --accept-licence if you accept its "
            "licence",
            refused=f"{model.name}: its licence was not accepted, nothing was fetched",
        )


def _verify(chosen: argparse.Namespace) -> int:
    from deep_perception.checkpoints.on_disk import inspect, verify

    models = _models(chosen.models) or [
        model for model in CATALOGUE if inspect(model, chosen.folder).state != "absent"
    ]
    found = [verify(model, chosen.folder) for model in models]
    whole = [
        item
        for item in found
        if item.state == "complete" or (item.state == "unverified" and item.model.files)
    ]
    if chosen.json:
        _say(json.dumps([_as_dict(item) for item in found], indent=2))
        return OK if len(whole) == len(found) else FAILED
    if not found:
        _say(f"{chosen.folder}: no model is here")
    for item in found:
        if item in whole:
            _say(f"{item.model.name}: {_checked(item)}")
        else:
            reasons = item.problems or (
                ("nothing says which bytes it should have",) if item.state == "unverified" else ()
            )
            problems = f" ({'; '.join(reasons)})" if reasons else ""
            _complain(
                f"{item.model.name}: {item.state}{problems}; get it with: "
                f"{_command(item.model, chosen.folder)}"
            )
    return OK if len(whole) == len(found) else FAILED


def _remove(chosen: argparse.Namespace) -> int:
    from deep_perception.checkpoints.on_disk import inspect, remove

    (model,) = _models(chosen.models)
    there = inspect(model, chosen.folder)
    if not chosen.yes and (there.path.is_dir() or there.path.is_symlink()):
        _ask(
            f"Delete {there.path} ({megabytes(there.size)})?",
            alone="nobody can be asked here; add --yes to delete",
            refused="nothing was deleted",
        )
    done = remove(model, chosen.folder)
    if done.was_link:
        _say(f"{done.path}: the link is removed; what it points to stays")
    elif done.left:
        _say(f"{done.path}: {megabytes(done.size)} removed; left, not ours: {', '.join(done.left)}")
    else:
        _say(f"{done.path}: {megabytes(done.size)} removed")
    return OK


def _ask(question: str, *, alone: str, refused: str) -> None:
    if not sys.stdin.isatty():
        raise ModelError(alone)
    sys.stderr.write(f"{question} [y/N] ")
    sys.stderr.flush()
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
    """Against what the files were compared. An unpinned model has the hub's word alone."""
    whose = (
        " with what the hub announced, not with a pin of ours"
        if (item.checked_against == "hub")
        else ""
    )
    return f"every checksum matches{whose} (revision {item.revision[:7]})"


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


def _say(line: str) -> None:
    sys.stdout.write(line + "\n")


def _complain(line: str) -> int:
    sys.stderr.write(f"deep_perception: {line}\n")
    return FAILED
