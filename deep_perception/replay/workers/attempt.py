"""One recording of many: replayed, or the reason why not. The rest of the batch goes on."""

from __future__ import annotations

import dataclasses
import errno
from dataclasses import dataclass
from pathlib import Path

from deep_perception.backends import BackendUnavailable
from deep_perception.replay.events import Tell, Trouble
from deep_perception.replay.files import InUse
from deep_perception.replay.journal import JournalError
from deep_perception.replay.outputs.summary import Summary
from deep_perception.replay.recordings.bags import BagError
from deep_perception.replay.run import ReplayModels, replay_bag
from deep_perception.replay.task import Task
from deep_perception.settings import Settings

# A recording whose worker died so often is left alone: it may be what kills them.
MAX_TRIES = 3
FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
KEPT = "what it had is kept, run the same command again to go on"


@dataclass(frozen=True)
class Failed:
    """Why a recording was not replayed to its end: one line for the user."""

    reason: str


def attempt(task: Task, settings: Settings, models: ReplayModels, tell: Tell) -> Summary | Failed:
    """``replay_bag`` for a batch: whatever is wrong with a recording is the result, not raised."""
    try:
        return replay_bag(task, settings, models, tell)
    except (BagError, JournalError, InUse, BackendUnavailable) as error:
        return Failed(str(error))
    except OSError as error:
        if error.errno in FULL:
            return Failed(f"{task.folder}: {error.strerror}; {KEPT}")
        if _about(error, task.folder):
            reason = f"{error.filename}: {error.strerror}"
            return Failed(
                f"{task.folder}: cannot be written to ({reason}); choose another --output"
            )
        return Failed(f"{task.bag}: {error}")
    except Exception as error:  # one recording must not cost the others
        return Failed(f"{task.bag}: {type(error).__name__}: {error}")


def _about(error: OSError, folder: Path) -> bool:
    if not isinstance(error.filename, str):
        return False
    path = Path(error.filename)
    return path.is_relative_to(folder) or folder.is_relative_to(path)


def once_more(task: Task, deaths: int, tell: Tell) -> Task | Failed:
    """What to do with a recording of which ``deaths`` workers died so far."""
    if deaths >= MAX_TRIES:
        return Failed(f"{task.bag}: its worker died {deaths} times (out of memory?); {KEPT}")
    tell(Trouble(f"{task.name}: its worker died; another one goes on with it"))
    # What it had done is there.
    return dataclasses.replace(task, mode="go on")
