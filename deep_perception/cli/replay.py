"""``deep_perception replay``."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deep_perception.backends import BackendUnavailable
from deep_perception.cli.replay_arguments import EXPORTS
from deep_perception.replay import INSTALL
from deep_perception.replay.events import Emit, Notice, Problem
from deep_perception.replay.terminal import Terminal
from deep_perception.settings import Settings

if TYPE_CHECKING:
    from deep_perception.replay.datasets.classes import Row
    from deep_perception.replay.journal import Journal
    from deep_perception.replay.outputs.summary import Summary
    from deep_perception.replay.run import LazyAnalyzer
    from deep_perception.replay.task import Task
    from deep_perception.replay.workers.attempt import Failure

OK, FAILED = 0, 2
# The names in the --output folder that are not the folder of a recording.
NOT_RECORDINGS = (*EXPORTS, "labels.csv", "labels_new.csv", ".replay")


def run_replay(
    arguments: argparse.Namespace,
    settings: Settings,
    info: Callable[[str], object],
    error: Callable[[str], object],
) -> int:
    """Replay all recordings; one that fails does not end the others.

    ``info`` and ``error`` print a line. Returns the exit code.
    """
    with closing(Terminal(info, error)) as terminal:
        return _run(arguments, settings, terminal)


def _run(arguments: argparse.Namespace, settings: Settings, terminal: Terminal) -> int:
    emit = terminal.emit
    try:
        from deep_perception.replay.datasets import ExportError, check
        from deep_perception.replay.datasets.labels_csv import LabelsError
        from deep_perception.replay.determinism import replay_settings
        from deep_perception.replay.recordings.bags import BagError
        from deep_perception.replay.run import LazyAnalyzer

        if arguments.ray is not None:
            import ray  # noqa: F401  # a missing package is reported before any work
    except ModuleNotFoundError as error:
        more = " 'ray>=2.60'" if error.name == "ray" else ""
        emit(Problem(f"a replay needs the package {error.name}: {INSTALL}{more}"))
        return FAILED
    if arguments.labels and not arguments.export:
        emit(Problem("--labels is for datasets; expected --export too"))
        return FAILED
    settings = replay_settings(settings, emit)
    try:
        # The labels are read once: the file may be a pipe, or be edited during the replay.
        reviewed = check(arguments.export, Path(settings.output.folder), arguments.labels)
    except (ExportError, LabelsError) as error:
        emit(Problem(str(error)))
        return FAILED
    tasks: list[Task] = []
    succeeded: dict[Path, bool] = {}
    try:
        with _sigterm_interrupts(), closing(LazyAnalyzer(settings)) as analyzer:
            tasks = _tasks(arguments, settings, emit)
            for task, result in _results(arguments, settings, analyzer, tasks, emit):
                succeeded[task.folder] = _report(task, result, terminal)
                if not succeeded[task.folder]:
                    _keep_old_outputs([task])
            # Sorted, so that the datasets do not depend on the order of the arguments.
            finished = sorted(
                (task for task in tasks if succeeded[task.folder]), key=lambda task: task.name
            )
            failed = len(tasks) - len(finished)
            exported = _export(arguments.export, reviewed, settings, finished, failed, terminal)
    except (BagError, BackendUnavailable) as error:
        _keep_old_outputs(tasks)
        emit(Problem(str(error)))
        return FAILED
    except KeyboardInterrupt:
        again = "without --overwrite" if arguments.overwrite else "with the same command"
        emit(Problem(f"interrupted; run again {again} to resume"))
        return FAILED
    return OK if exported and all(succeeded.values()) else FAILED


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Handle the SIGTERM of a container or a service like Ctrl-C, so that /tmp is cleaned up."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _results(
    arguments: argparse.Namespace,
    settings: Settings,
    analyzer: LazyAnalyzer,
    tasks: Sequence[Task],
    emit: Emit,
) -> Iterator[tuple[Task, Summary | Failure]]:
    if arguments.ray is not None:
        from deep_perception.replay.workers.ray_jobs import replay_on_ray

        return replay_on_ray(tasks, settings, arguments.ray, arguments.workers, emit)
    if (arguments.workers or 1) > 1:
        from deep_perception.replay.workers.processes import replay_in_processes

        return replay_in_processes(tasks, settings, arguments.workers, emit)
    from deep_perception.replay.workers.attempt import attempt_replay

    return ((task, attempt_replay(task, settings, analyzer, emit)) for task in tasks)


def _tasks(arguments: argparse.Namespace, settings: Settings, emit: Emit) -> list[Task]:
    from deep_perception.replay.journal import Journal
    from deep_perception.replay.recordings.choice import Choice
    from deep_perception.replay.task import (
        Task,
        check_outputs_outside,
        distinct_recordings,
        folder_names,
    )

    output = Path(settings.output.folder)
    choice = Choice(
        topics=tuple(arguments.topics),
        start=arguments.start,
        stop=arguments.stop,
        every=arguments.every,
        rate_hz=arguments.rate,
    )
    files = distinct_recordings(arguments.bags, emit)
    folders = {bag: output / name for bag, name in folder_names(files, NOT_RECORDINGS).items()}
    check_outputs_outside(files, folders.values())
    if arguments.overwrite:
        # All folders are marked before the first replay, so that an interrupted command resumes
        # without --overwrite. A folder that cannot be marked is reported by its replay.
        _in_journals(folders.values(), Journal.mark_outdated)
    return [
        Task(
            bag=bag,
            folder=folder,
            choice=choice,
            images=arguments.images,
            mode="overwrite"
            if arguments.overwrite
            else "resume"
            if arguments.resume
            else "continue",
        )
        for bag, folder in folders.items()
    ]


def _keep_old_outputs(tasks: Sequence[Task]) -> None:
    """Keep the outputs that --overwrite would have replaced if nothing has replaced them."""
    from deep_perception.replay.journal import Journal

    folders = [task.folder for task in tasks if task.mode == "overwrite"]
    _in_journals(folders, Journal.unmark_outdated)


def _in_journals(folders: Iterable[Path], change: Callable[[Journal], object]) -> None:
    """Change the journals that exist and that no other process uses."""
    from deep_perception.replay.files import FolderInUse
    from deep_perception.replay.journal import Journal, JournalError

    for folder in folders:
        with suppress(FolderInUse, JournalError, OSError):
            if folder.is_dir():
                with Journal(folder) as journal:
                    change(journal)


def _report(task: Task, result: Summary | Failure, terminal: Terminal) -> bool:
    """Print the result of a task, and return whether it succeeded."""
    from deep_perception.replay.workers.attempt import Failure

    terminal.close(task.name)
    if isinstance(result, Failure):
        terminal.emit(Problem(result.reason))
        return False
    for line in result.lines():
        terminal.emit(Notice(line))
    if result.counts.lost and not sum(result.keyframes.values()):
        terminal.emit(Problem(f"{task.name}: none of its frames could be used"))
        return False
    return True


def _export(
    names: Sequence[str],
    reviewed: Sequence[Row] | None,
    settings: Settings,
    tasks: Sequence[Task],
    failed: int,
    terminal: Terminal,
) -> bool:
    """Write the datasets, and return whether that succeeded."""
    from deep_perception.replay.datasets import Examples, ExportError, export
    from deep_perception.replay.files import FolderInUse
    from deep_perception.replay.journal import JournalError
    from deep_perception.replay.recordings.bags import BagError
    from deep_perception.replay.workers.attempt import DISK_FULL

    if not names:
        return True
    if not tasks:
        terminal.emit(Problem("datasets: none, every recording failed"))
        return False
    if failed:
        terminal.emit(Problem(f"datasets: without the recordings that failed ({failed})"))
    folder = Path(settings.output.folder)
    try:
        lines = export(names, folder, Examples(tasks, terminal.emit), reviewed)
    except (BagError, ExportError, FolderInUse, JournalError) as error:
        terminal.emit(Problem(f"datasets: {error}"))
        return False
    except OSError as error:
        reason = error.strerror if error.errno in DISK_FULL else error
        terminal.emit(Problem(f"datasets: writing into {folder}: {reason}"))
        return False
    terminal.close()
    for line in ["datasets:", *(f"  {line}" for line in lines)]:
        terminal.emit(Notice(line))
    return True
