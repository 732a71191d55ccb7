"""The replay of one recording of a batch, which ends with a summary or with the reason why not."""

from __future__ import annotations

import dataclasses
import errno
from dataclasses import dataclass
from pathlib import Path

from deep_perception.backends import BackendUnavailable
from deep_perception.redaction import scrub
from deep_perception.replay.events import Emit, Problem
from deep_perception.replay.files import FolderInUse
from deep_perception.replay.journal import JournalError
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.recordings.bags import BagError
from deep_perception.replay.run import LazyAnalyzer, replay_bag
from deep_perception.replay.task import Task
from deep_perception.settings import Settings

# A recording whose workers died this often is given up, because it may be what kills them.
MAX_ATTEMPTS = 3
DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
KEPT = "what was finished is kept, run the same command again to resume"


@dataclass(frozen=True)
class Failure:
    """The reason, in one line for the user, why a recording was not replayed to its end."""

    reason: str


def attempt_replay(
    task: Task, settings: Settings, analyzer: LazyAnalyzer, emit: Emit
) -> Summary | Failure:
    """Call ``replay_bag`` and return any error as a Failure, so that the batch continues."""
    result = _attempt(task, settings, analyzer, emit)
    # Here, because only the process that used a secret knows it.
    return Failure(scrub(result.reason)) if isinstance(result, Failure) else result


def _attempt(
    task: Task, settings: Settings, analyzer: LazyAnalyzer, emit: Emit
) -> Summary | Failure:
    try:
        return replay_bag(task, settings, analyzer, emit)
    except (BagError, JournalError, FolderInUse, BackendUnavailable) as error:
        return Failure(str(error))
    except OSError as error:
        if error.errno in DISK_FULL:
            return Failure(f"{task.folder}: {error.strerror}; {KEPT}")
        if _concerns(error, task.folder):
            reason = f"{error.filename}: {error.strerror}"
            return Failure(
                f"{task.folder}: cannot be written to ({reason}); choose another --output"
            )
        return Failure(f"{task.bag}: {error}")
    except MemoryError:
        return Failure(f"{task.bag}: needs more memory than there is; {KEPT}")
    except Exception as error:  # one recording must not end the batch
        return Failure(f"{task.bag}: {type(error).__name__}: {error}")


def _concerns(error: OSError, folder: Path) -> bool:
    if not isinstance(error.filename, str):
        return False
    path = Path(error.filename)
    return path.is_relative_to(folder) or folder.is_relative_to(path)


def retry_or_fail(task: Task, deaths: int, emit: Emit) -> Task | Failure:
    """Return the task to try again after the death of a worker, or a Failure after too many."""
    if deaths >= MAX_ATTEMPTS:
        return Failure(f"{task.bag}: its worker died {deaths} times (out of memory?); {KEPT}")
    emit(Problem(f"{task.name}: its worker died; another one resumes it"))
    # The dead worker has already marked what --overwrite replaces, so its scenes are kept.
    return dataclasses.replace(task, mode="continue")
