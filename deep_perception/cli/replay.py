"""``deep_perception replay``."""

from __future__ import annotations

import argparse
import signal
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from deep_perception.backends import BackendUnavailable
from deep_perception.cli.replay_arguments import EXPORTS
from deep_perception.replay import INSTALL
from deep_perception.settings import Settings

if TYPE_CHECKING:
    from deep_perception.replay.datasets.classes import Row
    from deep_perception.replay.journal import Journal
    from deep_perception.replay.outputs.summary import Summary
    from deep_perception.replay.task import Task
    from deep_perception.replay.terminal import Terminal
    from deep_perception.replay.workers.attempt import Failed

OK, FAILED = 0, 2
# In the folder of --output beside the recordings' folders.
NOT_RECORDINGS = (*EXPORTS, "labels.csv", "labels_new.csv", ".replay")


def run_replay(
    chosen: argparse.Namespace,
    settings: Settings,
    say: Callable[[str], object],
    complain: Callable[[str], object],
) -> int:
    """Replay all recordings; one that fails does not cost the others."""
    try:
        from deep_perception.replay.datasets import ExportError, check
        from deep_perception.replay.datasets.labels_csv import LabelsError
        from deep_perception.replay.determinism import replay_settings
        from deep_perception.replay.recordings.bags import BagError
        from deep_perception.replay.run import ReplayModels
        from deep_perception.replay.terminal import Terminal
        from deep_perception.replay.workers.attempt import attempt
        from deep_perception.replay.workers.processes import replay_in_processes

        if chosen.ray is not None:
            from deep_perception.replay.workers.ray_jobs import replay_on_ray
    except ModuleNotFoundError as error:
        more = " 'ray>=2.60'" if error.name == "ray" else ""
        complain(f"a replay needs the package {error.name}: {INSTALL}{more}")
        return FAILED
    if chosen.labels and not chosen.export:
        complain("--labels is for datasets; expected --export too")
        return FAILED
    settings = replay_settings(settings, complain)
    try:
        # Once: it may be a pipe, and be edited while the recordings are replayed.
        reviewed = check(chosen.export, Path(settings.output.folder), chosen.labels)
    except (ExportError, LabelsError) as error:
        complain(str(error))
        return FAILED
    models = ReplayModels(settings)
    tasks: list[Task] = []
    done: dict[Path, bool] = {}
    try:
        with _sigterm_interrupts(), Terminal(say, complain) as terminal:
            tasks = _tasks(chosen, settings, complain)
            if chosen.ray is not None:
                results = replay_on_ray(tasks, settings, chosen.ray, chosen.workers, terminal)
            elif (chosen.workers or 1) > 1:
                results = replay_in_processes(tasks, settings, chosen.workers, terminal)
            else:
                results = ((task, attempt(task, settings, models, terminal)) for task in tasks)
            for task, result in results:
                done[task.folder] = _report(task, result, terminal)
                if not done[task.folder]:
                    _keep([task])
            # In an order that does not depend on that of the call.
            finished = sorted((t for t in tasks if done[t.folder]), key=lambda task: task.name)
            failed = len(tasks) - len(finished)
            made = _export(chosen.export, reviewed, settings, finished, failed, terminal)
    except (BagError, BackendUnavailable) as error:
        _keep(tasks)
        complain(str(error))
        return FAILED
    except KeyboardInterrupt:
        again = "without --overwrite" if chosen.overwrite else "with the same command"
        complain(f"interrupted; run again {again} to go on")
        return FAILED
    finally:
        models.close()
    return OK if made and all(done.values()) else FAILED


@contextmanager
def _sigterm_interrupts() -> Iterator[None]:
    """Of a container or a service that is stopped: nothing is left behind in /tmp."""
    before = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


def _tasks(
    chosen: argparse.Namespace, settings: Settings, complain: Callable[[str], object]
) -> list[Task]:
    from deep_perception.replay.journal import Journal
    from deep_perception.replay.recordings.choice import Choice
    from deep_perception.replay.task import Task, each_once, keep_apart, named

    folder = Path(settings.output.folder)
    choice = Choice(
        topics=tuple(chosen.topics),
        start=chosen.start,
        stop=chosen.stop,
        every=chosen.every,
        rate_hz=chosen.rate,
    )
    files = each_once(chosen.bags, complain)
    folders = {bag: folder / name for bag, name in named(files, NOT_RECORDINGS).items()}
    keep_apart(files, folders.values())
    if chosen.overwrite:
        # All of them now: an interruption is gone on with without --overwrite. What is wrong with
        # one its replay says.
        _in_journals(folders.values(), Journal.outdate)
    return [
        Task(
            bag=bag,
            folder=place,
            choice=choice,
            images=chosen.images,
            mode="overwrite" if chosen.overwrite else "resume" if chosen.resume else "go on",
        )
        for bag, place in folders.items()
    ]


def _keep(tasks: Sequence[Task]) -> None:
    """What was to be written over is not, where nothing could take its place."""
    from deep_perception.replay.journal import Journal

    _in_journals([task.folder for task in tasks if task.mode == "overwrite"], Journal.keep)


def _in_journals(folders: Iterable[Path], do: Callable[[Journal], object]) -> None:
    """In those that there are and that nobody else writes into."""
    from deep_perception.replay.files import InUse
    from deep_perception.replay.journal import Journal, JournalError

    for folder in folders:
        with suppress(InUse, JournalError, OSError):
            if folder.is_dir():
                with Journal(folder) as journal:
                    do(journal)


def _report(task: Task, result: Summary | Failed, terminal: Terminal) -> bool:
    from deep_perception.replay.events import Note, Trouble
    from deep_perception.replay.workers.attempt import Failed

    terminal.close(task.name)
    if isinstance(result, Failed):
        terminal(Trouble(result.reason))
        return False
    terminal(Note("\n".join(result.lines())))
    if result.counts.lost and not sum(result.keyframes.values()):
        terminal(Trouble(f"{task.name}: none of its frames could be used"))
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
    from deep_perception.replay.datasets import Examples, ExportError, export
    from deep_perception.replay.events import Note, Trouble
    from deep_perception.replay.files import InUse
    from deep_perception.replay.journal import JournalError
    from deep_perception.replay.recordings.bags import BagError
    from deep_perception.replay.workers.attempt import FULL

    if not names:
        return True
    if not tasks:
        terminal(Trouble("datasets: none, every recording failed"))
        return False
    if failed:
        terminal(Trouble(f"datasets: without the recordings that failed ({failed})"))
    folder = Path(settings.output.folder)
    try:
        said = export(names, folder, Examples(tasks, terminal), reviewed)
    except (BagError, ExportError, InUse, JournalError) as error:
        terminal(Trouble(f"datasets: {error}"))
        return False
    except OSError as error:
        reason = error.strerror if error.errno in FULL else error
        terminal(Trouble(f"datasets: writing into {folder}: {reason}"))
        return False
    terminal.close()
    terminal(Note("\n".join(["datasets:", *(f"  {line}" for line in said)])))
    return True
