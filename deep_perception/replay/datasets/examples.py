"""The scenes of several replays together, with their images."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

from deep_perception.images import BgrImage
from deep_perception.replay.events import Emit, Progress
from deep_perception.replay.journal import Journal
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.recordings.bags import BagError, Recording
from deep_perception.replay.recordings.source import SceneImages
from deep_perception.replay.task import Task, select_source

Example = tuple[str, SceneRecord, Callable[[], BgrImage | None]]
"""The unique name of the recording, a scene, and a function that reads its image (HxWx3 uint8 BGR,
None if it cannot be read). The function may be called before the next scene only."""


class Examples:
    """The scenes of finished replays in their order; they can be iterated several times."""

    def __init__(self, tasks: Sequence[Task], emit: Emit) -> None:
        self._tasks = tasks
        self._emit = emit

    def __iter__(self) -> Iterator[Example]:
        """Yield the scenes, while the folder of their replay is reserved for this process.

        Raises BagError, FolderInUse, JournalError and OSError.
        """
        for number, task in enumerate(self._tasks):
            with Recording(task.bag) as recording, Journal(task.folder) as journal:
                journal.check_finished()
                source, _ = select_source(task, recording)
                images = SceneImages(source)
                for record in journal.scenes():
                    share = (number + source.share(record.log_ns)) / len(self._tasks)
                    yield task.name, record, self._reader(images, record, share)

    def _reader(
        self, images: SceneImages, record: SceneRecord, share: float
    ) -> Callable[[], BgrImage | None]:
        def read_image() -> BgrImage | None:
            self._emit(Progress(bag="datasets", step="images", share=share))
            try:
                return images.image(record)
            except BagError:  # the recording was damaged after its replay
                return None

        return read_image
