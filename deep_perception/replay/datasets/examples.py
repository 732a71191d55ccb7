"""The scenes of several replays together, with their pictures."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from deep_perception.images import BgrImage
from deep_perception.replay.events import Progress, Tell
from deep_perception.replay.journal import Journal
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.recordings.bags import BagError, Recording
from deep_perception.replay.recordings.source import Pictures
from deep_perception.replay.task import Task, chosen

Example = tuple[str, SceneRecord, Callable[[], BgrImage | None]]
"""The name of the recording, its own among all; a scene; and what gives its picture (HxWx3 uint8
BGR, None where it cannot be read), which is asked for before the next scene, or never."""


class Examples:
    """The scenes of finished replays in their order. May be gone through again; memory is flat."""

    def __init__(self, tasks: Sequence[Task], tell: Tell) -> None:
        self._tasks = tasks
        self._tell = tell

    def __iter__(self) -> Iterator[Example]:
        """Nobody else writes there meanwhile. Raises BagError, InUse, JournalError and OSError."""
        for number, task in enumerate(self._tasks):
            with Recording(task.bag) as recording, Journal(task.folder) as journal:
                journal.check_finished()
                source, _ = chosen(task, recording)
                pictures = Pictures(source)
                length_ns = source.stop_ns - source.start_ns
                for seen in journal.scenes():
                    share = number + (seen.log_ns - source.start_ns) / length_ns
                    yield task.name, seen, self._asked(pictures, seen, share / len(self._tasks))

    def _asked(
        self, pictures: Pictures, seen: SceneRecord, share: float
    ) -> Callable[[], BgrImage | None]:
        def picture() -> BgrImage | None:
            self._tell(Progress(bag="datasets", step="pictures", share=share))
            try:
                return pictures(seen)
            except BagError:  # damaged since
                return None

        return picture
