"""Datasets of the scenes of recordings: COCO, YOLO, and pairs of pictures and texts.

docs/datasets.md says what is in them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

from deep_perception import masks
from deep_perception.regions import Region
from deep_perception.replay.datasets import labels_csv
from deep_perception.replay.datasets.classes import LabelCounts, LabelMap, Row, apply, key_of
from deep_perception.replay.datasets.coco import Coco
from deep_perception.replay.datasets.examples import Example, Examples
from deep_perception.replay.datasets.pairs import Pairs
from deep_perception.replay.datasets.split import Split, Times
from deep_perception.replay.datasets.writer import ExportError, Labelled, Names, Shot, Writer
from deep_perception.replay.datasets.yolo import Yolo, YoloSeg
from deep_perception.replay.files import lock, put_back, put_in_place, remove
from deep_perception.replay.journal import HIDDEN
from deep_perception.replay.journal.scenes import SceneRecord

__all__ = ["EXPORTS", "Example", "Examples", "ExportError", "check", "export"]

EXPORTS: dict[str, Callable[[Path, Sequence[str], Split], Writer]] = {
    "coco": Coco,
    "yolo": Yolo,
    "yolo-seg": YoloSeg,
    "pairs": Pairs,
}
README = "README.md"
# A folder without it is not ours to replace.
MARK = "Made by `deep_perception replay --export`, which replaces this folder when it is run again."
# So many labels that are left out are named.
NAMED = 5


def check(names: Sequence[str], folder: Path, reviewed: Path | None) -> list[Row] | None:
    """What can be wrong before there are scenes: hours may lie between the two.

    Returns the labels of ``reviewed``. Raises ExportError and LabelsError.
    """
    for name in names:
        _check_place(folder / name)
    return labels_csv.read(reviewed) if reviewed else None


def export(
    names: Sequence[str],
    folder: Path,
    examples: Iterable[Example],
    reviewed: Sequence[Row] | None = None,
) -> list[str]:
    """Make the datasets ``names`` of EXPORTS, each a folder in ``folder``, and ``labels.csv``.

    ``examples`` are gone through twice, one at a time in memory; ``reviewed`` are the rows of a
    ``labels.csv`` that somebody edited (``check``): then labels that are not in it are left out.
    Only regions with words are taken. The same input gives the same bytes. Returns what was made
    and what was left out, for people. Each folder is there whole, or as it was before. Raises
    ExportError, InUse, OSError, and what ``examples`` raise.
    """
    check(names, folder, None)
    known = None if reviewed is None else frozenset(row.key for row in reviewed)
    survey = _Survey(examples, known)
    counted = survey.labels.rows()
    if not counted:
        raise ExportError(f"no region has words{survey.wordless}: there is nothing to export")
    rows, unlisted = (counted, []) if reviewed is None else apply(reviewed, counted)
    if not any(row.name and row.count for row in rows):
        theirs = _some(counted)
        raise ExportError(f"--labels: no label of these recordings has a class; they have {theirs}")
    said = [*_left_out(rows, unlisted)]
    if survey.wordless:
        said.append(f"left out: regions without words{survey.wordless}")
    classes, split = LabelMap(rows), survey.times.split()
    with _parts(folder, names) as parts, ExitStack() as stack:
        writers = {name: EXPORTS[name](parts[name], classes.names, split) for name in parts}
        for writer in writers.values():
            stack.callback(writer.close)
        said += _write(list(writers.values()), examples, classes, known, split)
        for name, writer in writers.items():
            said.append(f"{name}: {writer.finish()} -> {folder / name}")
            text = f"{MARK}\n\n{writer.readme}"
            (parts[name] / README).write_bytes(text.encode("utf-8", "replace"))
        made = labels_csv.save(folder, [*rows, *unlisted])
    listed = f"{len(rows) + len(unlisted)} labels -> {made}"
    if made.name != labels_csv.LABELS:
        listed += f" ({labels_csv.LABELS} was edited, and is as it was; --labels applies it)"
    return [listed, *said]


class _Survey:
    """What has to be known of all scenes before the first is written."""

    def __init__(self, examples: Iterable[Example], known: frozenset[str] | None) -> None:
        self.labels = LabelCounts()
        self.times = Times()
        self._statuses: Counter[str] = Counter()
        for bag, seen, _ in examples:
            for region in seen.scene.regions:
                self._statuses[region.description.status] += 1
                if _has_words(region):
                    self.labels.add(region.description)
            if _belongs(seen) and _known(seen, known):
                self.times.add(bag, seen.log_ns)

    @property
    def wordless(self) -> str:
        """How many regions have no words, "" for none."""
        counts = [f"{self._statuses[each]} {each}" for each in ("failed", "pending")]
        shown = ", ".join(each for each in counts if not each.startswith("0 "))
        return f" ({shown})" if shown else ""


def _write(
    writers: Sequence[Writer],
    examples: Iterable[Example],
    classes: LabelMap,
    known: frozenset[str] | None,
    split: Split,
) -> Iterator[str]:
    """Hand every picture to every writer; gives what was left out, for people."""
    names, written, lost, unknown = Names(), 0, 0, 0
    for bag, seen, picture in examples:
        if not _belongs(seen):
            continue
        if not _known(seen, known):
            unknown += 1
            continue
        image = picture()
        if image is None or masks.size_of(image) != seen.scene.size:
            lost += 1
            continue
        shot = Shot(
            name=names.of(bag, seen),
            bag=bag,
            seen=seen,
            picture=image,
            regions=[
                Labelled(region=region, number=number)
                for region in seen.scene.regions
                if _has_words(region)
                and (number := classes.class_of(region.description.label)) is not None
            ],
            part=split.part(bag, seen.log_ns),
        )
        for writer in writers:
            writer.add(shot)
        written += 1
    if lost and not written:
        raise ExportError(f"none of {lost} pictures can be read: is the recording still there?")
    if lost:
        yield f"left out: {lost} pictures that cannot be read"
    if unknown:
        yield f"left out: {unknown} pictures with only labels that nobody reviewed"


def _has_words(region: Region) -> bool:
    return region.description.status in ("described", "reused")


def _belongs(seen: SceneRecord) -> bool:
    # Without a single word about what is in it, a picture would teach that nothing is.
    regions = seen.scene.regions
    return not regions or any(map(_has_words, regions))


def _known(seen: SceneRecord, known: frozenset[str] | None) -> bool:
    # Nor without a region whose label somebody looked at, where anybody did at some.
    if known is None:
        return True
    found = [key_of(each.description.label) for each in seen.scene.regions if _has_words(each)]
    return not found or not known.isdisjoint(found)


def _left_out(rows: Sequence[Row], unlisted: Sequence[Row]) -> Iterator[str]:
    unwanted = [row for row in rows if row.count and not row.name]
    for why, left in ("without a class", unwanted), ("that nobody reviewed", unlisted):
        if left:
            yield f"left out: {len(left)} labels {why}: {_some(left)}"


def _some(rows: Sequence[Row]) -> str:
    shown = ", ".join(f"{row.label} ({row.count})" for row in rows[:NAMED])
    return shown + (", ..." if len(rows) > NAMED else "")


def _check_place(place: Path) -> None:
    if place.name not in EXPORTS:
        raise ExportError(f"{place.name!r}: expected one of {', '.join(EXPORTS)}")
    readme = place / README
    try:
        if place.is_symlink():
            raise ExportError(
                f"{place}: is a link, and would be replaced by a folder; give --output the folder "
                "that it is to be in"
            )
        ours = readme.read_text(encoding="utf-8", errors="replace").startswith(MARK)
    except (FileNotFoundError, NotADirectoryError):
        ours = not place.exists() or (place.is_dir() and not any(place.iterdir()))
    except OSError as error:
        raise ExportError(f"{place}: cannot be used: {error.strerror}") from None
    if not ours:
        raise ExportError(
            f"{place}: was not made by --export and would be replaced; move it away, or choose "
            "another --output"
        )


@contextmanager
def _parts(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Where to make folders; once all are made each is put into ``folder``. Raises InUse."""
    hidden = folder / HIDDEN
    taken = lock(hidden)
    parts = {name: hidden / f"{name}.part" for name in names}
    try:
        # Also of one that was killed and made others.
        for name in EXPORTS:
            put_back(hidden / f"{name}.part", folder / name)
        for left in hidden.glob("*.part"):
            remove(left)
        yield parts
        for name, part in parts.items():
            put_in_place(part, folder / name)
    finally:
        for part in parts.values():
            remove(part)
        taken.release()
