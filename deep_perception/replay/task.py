"""What is to be done with one recording, and all by which its scenes could change."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from deep_perception import __version__
from deep_perception.replay.journal import Mode
from deep_perception.replay.outputs.bag import Images
from deep_perception.replay.recordings.bags import BagError, Recording, name_of
from deep_perception.replay.recordings.checksum import checksum
from deep_perception.replay.recordings.choice import Choice, ChoiceError, choose_topics
from deep_perception.replay.recordings.source import Source
from deep_perception.replay.recordings.storage import METADATA
from deep_perception.replay.recordings.storage.opening import files_of
from deep_perception.reports.naming import unique_names
from deep_perception.settings import Settings
from deep_perception.settings.options import flatten

# Settings by which no scene changes, but where it comes from, how fast, and what is made of it.
NOT_ASKED = (
    "output.", "ros.", "models.", "describer.cache_", "describer.url", "describer.api_key_env",
    "describer.load_", "describer.ttl_s", "describer.max_concurrency", "describer.region_timeout_s",
    "describer.new_keyframe", "describer.dam.url", "describer.dam.manage_server",
    "describer.dam.environment", "describer.dam.device", "describer.dam.max_batch",
    "describer.dam.max_queue", "describer.dam.api_key_env",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class Task:
    """A recording, the folder for what is made of it, and how."""

    bag: Path
    folder: Path
    choice: Choice = field(default_factory=Choice)
    images: Images = "all"
    mode: Mode = "go on"

    @property
    def name(self) -> str:
        """What it is called on the terminal: as its folder."""
        return self.folder.name


def each_once(
    bags: Iterable[Path], complain: Callable[[str], object]
) -> dict[Path, frozenset[Path]]:
    """The recordings without those that are given again, by another path or a file of theirs.

    With the files of each.
    """
    files: dict[Path, frozenset[Path]] = {}
    for bag in bags:
        if bag in files:
            complain(f"{bag}: is given twice; it is replayed once")
        files[bag] = _files(bag)
    wholes: dict[Path, frozenset[Path]] = {}
    # The whole before its parts, whichever is given first.
    for bag in sorted(files, key=lambda each: -len(files[each])):
        whole = next((each for each, its in wholes.items() if files[bag] <= its), None)
        if whole is None:
            wholes[bag] = files[bag]
        elif files[bag] == wholes[whole]:
            complain(f"{bag}: is the same recording as {whole}; it is replayed once")
        else:
            complain(f"{bag}: is a part of {whole}, which is replayed as a whole")
    return {bag: its for bag, its in files.items() if bag in wholes}


def _files(bag: Path) -> frozenset[Path]:
    try:
        files = files_of(bag.parent if bag.name == METADATA else bag, lambda warning: None)
    except (BagError, OSError):
        files = [bag]
    return frozenset(file.resolve() for file in files)


def keep_apart(files: Mapping[Path, Iterable[Path]], folders: Iterable[Path]) -> None:
    """Raises BagError where a recording has files in a folder that is written into."""
    places = {folder: folder.resolve() for folder in folders}
    for bag, its in files.items():
        for file in its:
            for folder, place in places.items():
                if file.resolve().is_relative_to(place):
                    raise BagError(
                        f"{bag}: the outputs would be written into the folder of the recording, "
                        f"{folder}; choose another --output"
                    )


def named(bags: Collection[Path], taken: Collection[str]) -> dict[Path, str]:
    """A name for each recording, its own; with its parent's where several are called the same.

    It does not depend on the order. ``taken``: names that something else has.
    """
    stems = {bag: name_of(bag) or "recording" for bag in bags}
    often = Counter(stems.values())
    wanted = {}
    for bag in sorted(bags, key=Path.resolve):
        whole = (bag.parent if bag.name == METADATA else bag).resolve()
        stem = stems[bag]
        wanted[bag] = f"{whole.parent.name}_{stem}" if often[stem] > 1 else stem
    names = unique_names(wanted, taken)
    return {bag: names[bag] for bag in bags}


def chosen(task: Task, recording: Recording) -> tuple[Source, dict[str, str]]:
    """What of a recording is replayed, and the image topics that are not, with the reason.

    Raises BagError.
    """
    try:
        topics, left_out = choose_topics(recording.image_topics, task.choice.topics)
        span = task.choice.span(recording.start_ns, recording.end_ns)
    except ChoiceError as error:
        raise BagError(f"{task.bag}: {error}") from None
    return Source(recording, topics, *span), left_out


def asked(task: Task, settings: Settings, source: Source) -> dict[str, str]:
    """All by which scenes could change, by names for people."""
    recording, choice = source.recording, task.choice
    files = (
        f"{file.name} of {file.stat().st_size} bytes ({checksum(file)})" for file in recording.files
    )
    topics = (f"{count} on {topic}" for topic, (_, count) in recording.image_topics.items())
    return {
        "deep_perception": __version__,
        "the recording": f"{', '.join(files)}, from {recording.start_ns} to {recording.end_ns} ns, "
        f"{recording.message_count} messages, {', '.join(topics)}",
        "--topic": ", ".join(source.topics),
        "--from": f"{source.start_ns} ns",
        "--to": f"{source.stop_ns} ns",
        "--every": str(choice.every),
        "--rate": str(choice.rate_hz),
        **{
            name: str(value)
            for name, value in flatten(settings).items()
            if not name.startswith(NOT_ASKED)
        },
    }
