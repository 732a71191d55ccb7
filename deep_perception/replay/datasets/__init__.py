"""Datasets of the scenes of recordings: COCO, YOLO, and pairs of images and texts.

docs/datasets.md describes their content.
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
from deep_perception.replay.datasets.split import ImageTimes, SplitRule
from deep_perception.replay.datasets.writer import (
    ExportError,
    FileNames,
    LabelledRegion,
    Sample,
    Writer,
)
from deep_perception.replay.datasets.yolo import Yolo, YoloSeg
from deep_perception.replay.files import lock_folder, remove, replace_path, restore_old
from deep_perception.replay.journal import HIDDEN
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import open_regular
from deep_perception.untrusted.text import printable

__all__ = ["EXPORTS", "Example", "Examples", "ExportError", "check", "export"]

EXPORTS: dict[str, Callable[[Path, Sequence[str], SplitRule], Writer]] = {
    "coco": Coco,
    "yolo": Yolo,
    "yolo-seg": YoloSeg,
    "pairs": Pairs,
}
README = "README.md"
# Only a folder whose README starts with this line is replaced.
MARK = "Made by `deep_perception replay --export`, which replaces this folder when it is run again."
# A message names at most this many labels.
MAX_LABELS = 5


def check(names: Sequence[str], folder: Path, reviewed: Path | None) -> list[Row] | None:
    """Check the input of an export before the scenes are computed, which may take hours.

    Returns the rows of the file ``reviewed``. Raises ExportError and LabelsError.
    """
    for name in names:
        _check_target(folder / name)
    return labels_csv.read(reviewed) if reviewed else None


def export(
    names: Sequence[str],
    folder: Path,
    examples: Iterable[Example],
    reviewed: Sequence[Row] | None = None,
) -> list[str]:
    """Write the datasets ``names`` of EXPORTS into ``folder``, one folder each, and ``labels.csv``.

    ``examples`` are read twice, one at a time in memory. ``reviewed`` are the rows of an edited
    ``labels.csv`` (``check``); labels that it does not contain are left out. Only described regions
    are used. The same input gives the same bytes. Returns lines for people about what was written
    and left out. Each folder is replaced as a whole. Raises ExportError, FolderInUse, OSError, and
    what ``examples`` raise.
    """
    check(names, folder, None)
    known = None if reviewed is None else frozenset(row.key for row in reviewed)
    survey = _Survey(examples, known)
    counted = survey.labels.rows()
    if not counted:
        raise ExportError(f"no region is described{survey.undescribed}: nothing can be exported")
    rows, unlisted = (counted, []) if reviewed is None else apply(reviewed, counted)
    if not any(row.name and row.count for row in rows):
        theirs = _list_labels(counted)
        raise ExportError(f"--labels: no label of these recordings has a class; they have {theirs}")
    lines = [*_left_out(rows, unlisted)]
    if survey.undescribed:
        lines.append(f"left out: regions without a description{survey.undescribed}")
    classes, split = LabelMap(rows), survey.times.split()
    with _temporary_folders(folder, names) as parts, ExitStack() as stack:
        writers = {name: EXPORTS[name](parts[name], classes.names, split) for name in parts}
        for writer in writers.values():
            stack.callback(writer.close)
        lines += _write(list(writers.values()), examples, classes, known, split)
        for name, writer in writers.items():
            lines.append(f"{name}: {writer.finish()} -> {folder / name}")
            text = f"{MARK}\n\n{writer.readme}"
            (parts[name] / README).write_bytes(text.encode("utf-8", "replace"))
        path = labels_csv.save(folder, [*rows, *unlisted])
    first = f"{len(rows) + len(unlisted)} labels -> {path}"
    if path.name != labels_csv.LABELS:
        first += f" ({labels_csv.LABELS} was edited and is kept; --labels applies it)"
    return [first, *lines]


class _Survey:
    """What must be known about all scenes before the first sample is written."""

    def __init__(self, examples: Iterable[Example], known: frozenset[str] | None) -> None:
        self.labels = LabelCounts()
        self.times = ImageTimes()
        self._statuses: Counter[str] = Counter()
        for bag, record, _ in examples:
            for region in record.scene.regions:
                self._statuses[region.description.status] += 1
                if _is_described(region):
                    self.labels.add(region.description)
            if _is_usable(record) and _is_reviewed(record, known):
                self.times.add(bag, record.log_ns)

    @property
    def undescribed(self) -> str:
        """The number of regions without a description by status, "" for none."""
        counts = ((self._statuses[status], status) for status in ("failed", "pending"))
        shown = ", ".join(f"{count} {status}" for count, status in counts if count)
        return f" ({shown})" if shown else ""


def _write(
    writers: Sequence[Writer],
    examples: Iterable[Example],
    classes: LabelMap,
    known: frozenset[str] | None,
    split: SplitRule,
) -> Iterator[str]:
    """Pass every image to every writer; yields lines for people about what is left out."""
    names, written, unreadable, unreviewed = FileNames(), 0, 0, 0
    for bag, record, read_image in examples:
        if not _is_usable(record):
            continue
        if not _is_reviewed(record, known):
            unreviewed += 1
            continue
        image = read_image()
        if image is None or masks.size_of(image) != record.scene.size:
            unreadable += 1
            continue
        sample = Sample(
            name=names.of_image(bag, record),
            bag=bag,
            record=record,
            image=image,
            regions=[
                LabelledRegion(region=region, class_id=class_id)
                for region in record.scene.regions
                if _is_described(region)
                and (class_id := classes.class_of(region.description.label)) is not None
            ],
            split=split.split_of(bag, record.log_ns),
        )
        for writer in writers:
            writer.add(sample)
        written += 1
    if unreadable and not written:
        raise ExportError(
            f"none of {unreadable} images can be read: does the recording still exist?"
        )
    if unreadable:
        yield f"left out: {unreadable} images that cannot be read"
    if unreviewed:
        yield f"left out: {unreviewed} images whose labels were not reviewed"


def _is_described(region: Region) -> bool:
    return region.description.status in ("described", "reused")


def _is_usable(record: SceneRecord) -> bool:
    # An image with regions of which none is described would teach a model that it shows nothing.
    regions = record.scene.regions
    return not regions or any(map(_is_described, regions))


def _is_reviewed(record: SceneRecord, known: frozenset[str] | None) -> bool:
    # If labels were reviewed, an image needs at least one region with a reviewed label.
    if known is None:
        return True
    keys = [
        key_of(region.description.label) for region in record.scene.regions if _is_described(region)
    ]
    return not keys or not known.isdisjoint(keys)


def _left_out(rows: Sequence[Row], unlisted: Sequence[Row]) -> Iterator[str]:
    without_class = [row for row in rows if row.count and not row.name]
    for reason, left in ("without a class", without_class), ("that were not reviewed", unlisted):
        if left:
            yield f"left out: {len(left)} labels {reason}: {_list_labels(left)}"


def _list_labels(rows: Sequence[Row]) -> str:
    shown = ", ".join(f"{printable(row.label)} ({row.count})" for row in rows[:MAX_LABELS])
    return shown + (", ..." if len(rows) > MAX_LABELS else "")


def _check_target(target: Path) -> None:
    if target.name not in EXPORTS:
        raise ExportError(f"{target.name!r}: expected one of {', '.join(EXPORTS)}")
    readme = target / README
    try:
        if target.is_symlink():
            raise ExportError(
                f"{target}: is a link, and would be replaced by a folder; give --output the folder "
                "that it is to be in"
            )
        replaceable = _first_bytes(readme).startswith(MARK.encode())
    except (FileNotFoundError, NotADirectoryError):
        replaceable = not target.exists() or (target.is_dir() and not any(target.iterdir()))
    except OSError as error:
        raise ExportError(f"{target}: cannot be used: {error.strerror}") from None
    if not replaceable:
        raise ExportError(
            f"{target}: was not made by --export and would be replaced; move it away, or choose "
            "another --output"
        )


def _first_bytes(path: Path) -> bytes:
    """Return some bytes of a file; a pipe or a device, which need not end, has none."""
    try:
        with open_regular(path) as file:
            return file.read(len(MARK) + 1)
    except UntrustedError:
        return b""


@contextmanager
def _temporary_folders(folder: Path, names: Sequence[str]) -> Iterator[dict[str, Path]]:
    """Give paths for new folders, which replace those in ``folder`` at the end.

    Raises FolderInUse.
    """
    hidden = folder / HIDDEN
    parts = {name: hidden / f"{name}.part" for name in names}
    with lock_folder(hidden):
        try:
            # A killed run may have replaced the folders of other datasets.
            for name in EXPORTS:
                restore_old(hidden / f"{name}.part", folder / name)
            for left in hidden.glob("*.part"):
                remove(left)
            yield parts
            for name, part in parts.items():
                replace_path(part, folder / name)
        finally:
            for part in parts.values():
                remove(part)
