"""The task of replaying one recording, and everything that its scenes depend on."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deep_perception._version import __version__
from deep_perception.replay.events import Emit, Problem
from deep_perception.replay.journal import Mode
from deep_perception.replay.outputs.bag import Images
from deep_perception.replay.recordings.bags import BagError, Recording, name_of
from deep_perception.replay.recordings.checksum import checksum
from deep_perception.replay.recordings.choice import Choice, ChoiceError, choose_topics
from deep_perception.replay.recordings.content import encoding_of
from deep_perception.replay.recordings.source import ReplaySource
from deep_perception.replay.recordings.storage import METADATA
from deep_perception.replay.recordings.storage.opening import files_of
from deep_perception.reports.naming import unique_names
from deep_perception.settings import Settings
from deep_perception.settings.options import flatten, options

# Bytes of the name of a folder.
LONGEST_NAME = 240


@dataclass(frozen=True, kw_only=True)
class Task:
    """A recording, the folder of its outputs, and how to make them."""

    bag: Path
    folder: Path
    choice: Choice = field(default_factory=Choice)
    images: Images = "all"
    mode: Mode = "continue"

    @property
    def name(self) -> str:
        """The name of the recording on the terminal, which is that of its folder."""
        return self.folder.name


def distinct_recordings(bags: Iterable[Path], emit: Emit) -> dict[Path, frozenset[Path]]:
    """Return the recordings with the files of each, every recording once.

    A recording that is given again, by another path or by one of its files, is left out with a
    Problem.
    """
    files: dict[Path, frozenset[Path]] = {}
    for bag in bags:
        if bag in files:
            emit(Problem(f"{bag}: is given twice; it is replayed once"))
        files[bag] = _files(bag)
    distinct: dict[Path, frozenset[Path]] = {}
    # Recordings with more files come first, so that a whole recording wins over its parts.
    for bag in sorted(files, key=lambda bag: -len(files[bag])):
        whole = next((other for other, its in distinct.items() if files[bag] <= its), None)
        if whole is None:
            distinct[bag] = files[bag]
        elif files[bag] == distinct[whole]:
            emit(Problem(f"{bag}: is the same recording as {whole}; it is replayed once"))
        else:
            emit(Problem(f"{bag}: is a part of {whole}, which is replayed as a whole"))
    return {bag: its for bag, its in files.items() if bag in distinct}


def _files(bag: Path) -> frozenset[Path]:
    try:
        files = files_of(bag.parent if bag.name == METADATA else bag, lambda warning: None)
    except (BagError, OSError):
        files = [bag]
    return frozenset(file.resolve() for file in files)


def check_outputs_outside(files: Mapping[Path, Iterable[Path]], folders: Iterable[Path]) -> None:
    """Raise BagError if a file of a recording lies in one of the output folders."""
    resolved = {folder: folder.resolve() for folder in folders}
    for bag, its in files.items():
        for file in its:
            for folder, path in resolved.items():
                if file.resolve().is_relative_to(path):
                    raise BagError(
                        f"{bag}: the outputs would be written into the folder of the recording, "
                        f"{folder}; choose another --output"
                    )


def folder_names(bags: Collection[Path], taken: Collection[str]) -> dict[Path, str]:
    """Return a unique folder name for each recording, independent of their order.

    It is the recording's name, with its parent folder's name in front where several recordings have
    the same name. ``taken`` are names that are in use for something else.
    """
    stems = {bag: name_of(bag) or "recording" for bag in bags}
    counts = Counter(stems.values())
    wanted = {}
    for bag in sorted(bags, key=Path.resolve):
        whole = (bag.parent if bag.name == METADATA else bag).resolve()
        stem = stems[bag]
        name = f"{whole.parent.name}_{stem}" if counts[stem] > 1 else stem
        # A number may be added, and a file name has at most 255 bytes.
        wanted[bag] = os.fsdecode(os.fsencode(name)[:LONGEST_NAME])
    names = unique_names(wanted, taken)
    return {bag: names[bag] for bag in bags}


def select_source(task: Task, recording: Recording) -> tuple[ReplaySource, dict[str, str]]:
    """Return the part of a recording to replay, and the other image topics with the reason.

    Raises BagError.
    """
    try:
        topics, left_out = choose_topics(
            recording.image_topics,
            task.choice.topics,
            lambda topic: encoding_of(next(recording.frames([topic]), None)),
        )
        span = task.choice.span(recording.start_ns, recording.end_ns)
    except ChoiceError as error:
        raise BagError(f"{task.bag}: {error}") from None
    return ReplaySource(recording, topics, *span), left_out


def scene_inputs(task: Task, settings: Settings, source: ReplaySource) -> dict[str, str]:
    """Return everything that the scenes depend on, by names that an error message can show."""
    recording, choice = source.recording, task.choice
    files = (
        f"{file.name} of {file.stat().st_size} bytes ({checksum(file)})" for file in recording.files
    )
    topics = (f"{count} on {topic}" for topic, (_, count) in recording.image_topics.items())
    values = flatten(settings)
    return {
        "deep_perception": __version__,
        "the recording": f"{', '.join(files)}, from {recording.start_ns} to {recording.end_ns} ns, "
        f"{recording.message_count} messages, {', '.join(topics)}",
        "--topic": ", ".join(source.topics),
        "--from": f"{source.start_ns} ns",
        "--to": f"{source.stop_ns} ns",
        "--every": str(choice.every),
        "--rate": str(choice.rate_hz),
        **{option.name: str(values[option.name]) for option in options() if option.changes_scenes},
    }
