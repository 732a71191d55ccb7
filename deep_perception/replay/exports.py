"""The scenes of several replays together, with their pictures, for datasets."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from deep_perception.images import Picture
from deep_perception.replay.bags import Recording
from deep_perception.replay.files import lock, put_in_place, remove
from deep_perception.replay.journal import HIDDEN, SCENES, read_scenes
from deep_perception.replay.scenes import Seen
from deep_perception.replay.source import Pictures
from deep_perception.replay.task import Task, chosen

Example = tuple[str, Seen, Callable[[], Picture | None]]
"""The name of the recording, a scene, and what gives its picture (HxWx3 uint8 BGR, None where it
cannot be read); the picture is asked for before the next scene, or never."""


class Examples:
    """The scenes of finished replays in their order. May be gone through again; memory is flat."""

    def __init__(self, tasks: Sequence[Task]) -> None:
        self._tasks = tasks

    def __iter__(self) -> Iterator[Example]:
        """Raises BagError, JournalError and OSError."""
        for task in self._tasks:
            with Recording(task.bag) as recording:
                source, _ = chosen(task, recording)
                pictures = Pictures(source)
                for seen in read_scenes(task.folder / SCENES):
                    yield task.name, seen, functools.partial(pictures, seen)


def put_outputs(folder: Path, make: Mapping[str, Callable[[Path], None]]) -> None:
    """Make files or folders by name in ``folder``; each is there whole or not at all.

    Each is made at the path that its function gets, where nothing is. Raises InUse, and what the
    functions raise.
    """
    hidden = folder / HIDDEN
    taken = lock(hidden)
    try:
        for name, write in make.items():
            part = hidden / f"{name}.part"
            remove(part)
            write(part)
            put_in_place(part, folder / name)
    finally:
        taken.release()
