"""The journal of a replay: ``scenes.jsonl`` and its progress, consistent after a kill -9."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, BinaryIO, Literal

from deep_perception.replay.files import lock_folder, remove, replace_path, write_file
from deep_perception.replay.journal import resume
from deep_perception.replay.journal.scenes import (
    LARGEST_LINE,
    SceneError,
    SceneRecord,
    from_line,
    to_line,
)
from deep_perception.replay.journal.state import HEAD_LIMIT, OldState, State
from deep_perception.replay.resume_point import ResumePoint
from deep_perception.settings import Settings
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.text import LINE, printable

Mode = Literal["continue", "resume", "overwrite"]
"""``continue`` resumes an unfinished replay or starts one; ``resume`` requires an existing one."""

HIDDEN = ".replay"
# The files and folders that a replay writes, beside the hidden one.
OUTPUTS = SCENES, SUMMARY, PAGE, BAG = "scenes.jsonl", "summary.json", "report.html", "bag"
# A crash costs at most this much work, and the frame in which it happens.
SAVE_EVERY_S = 1.0
# An error names at most this many differences.
MAX_DIFFERENCES = 4


class JournalError(ValueError):
    """A folder cannot be used or a replay cannot be resumed; the message says what to do."""


class Journal:
    """A context manager: while it is open, no other process writes into the folder.

    Entering it raises FolderInUse. Call ``begin`` first. All methods raise JournalError and
    OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hidden = folder / HIDDEN
        self._state_file = self._hidden / "state"
        self._state = State({})
        self._replaces = False
        self._stack = ExitStack()
        self._file: BinaryIO | None = None
        self._saved_s = 0.0

    def __enter__(self) -> Journal:
        self._stack.enter_context(lock_folder(self._hidden))
        return self

    def __exit__(self, *exception: object) -> None:
        self._stack.close()

    # -- begin or resume -----------------------------------------------------------------------

    def begin(
        self,
        inputs: Mapping[str, str],
        mode: Mode,
        settings: Settings,
        topics: Collection[str],
    ) -> ResumePoint | None:
        """Return the resume point that was saved last, None for a new or a finished replay.

        ``inputs``: everything by name that must be the same to resume, ``settings`` and ``topics``
        among it.
        """
        # JSON of others has no half surrogate pairs, as a file name may have.
        inputs = {name: _encodable(value) for name, value in inputs.items()}
        if mode == "overwrite":
            self.mark_outdated()
        state = self._read_state()
        if state is None or state.outdated:
            if mode == "resume":
                raise JournalError(f"{self.folder}: there is nothing to resume; leave out --resume")
            self._check_own_files(state)
            self._state, self._replaces = State(inputs), state is not None
            return None
        self._check_same(state.inputs, inputs)
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < state.length or (state.finished and size > state.length):
            raise self._cannot_resume(f"{SCENES} has {size} bytes, and had {state.length}")
        self._state = state
        if not state.finished and state.length and not state.resume_point:
            raise self._cannot_resume("its saved state is unusable: no resume point")
        if state.finished or not state.resume_point:
            return None
        try:
            return resume.loads(state.resume_point, settings, topics)
        except resume.UnusableState as error:
            raise self._cannot_resume(str(error)) from None

    def mark_outdated(self) -> None:
        """Let the next replay replace everything in the folder, also after a crash."""
        try:
            state = self._load_state() or State({})
        except OldState as error:
            state = State({}, outputs=error.outputs)
        except ValueError:
            state = State({})
        self._write_state(dataclasses.replace(state, outdated=True))

    def unmark_outdated(self) -> None:
        """Undo ``mark_outdated`` if no replay has begun since."""
        state = self._read_state()
        if state is not None and state.outdated:
            if state.inputs:
                self._write_state(dataclasses.replace(state, outdated=False))
            else:
                remove(self._state_file)

    def _check_own_files(self, state: State | None) -> None:
        """Refuse to replace files that may not come from a replay."""
        existing = [name for name in OUTPUTS if (self.folder / name).exists()]
        if state is None and existing:
            raise JournalError(
                f"{self.folder}: contains a {existing[0]} that is not from this replay; choose "
                "another --output, or replace it with --overwrite"
            )
        if state is not None and BAG in existing and BAG not in state.outputs:
            raise JournalError(
                f"{self.folder / BAG}: is not known to be the output of a replay, and may be a "
                "recording of yours; move it away, or choose another --output"
            )

    def check_finished(self) -> None:
        """Raise JournalError if scenes are missing."""
        state = self._read_state()
        size = self.path.stat().st_size if self.path.exists() else -1
        if state is None or state.outdated or not state.finished or size != state.length:
            raise JournalError(f"{self.folder}: its replay is not finished; run it again")

    def open(self, models: Mapping[str, str]) -> None:
        """Prepare to add scenes; ``models`` are those in use, which must stay the same."""
        models = {name: _encodable(value) for name, value in models.items()}
        if self._state.models:
            self._check_same(self._state.models, models)
        for part in self._hidden.glob("*.part"):
            remove(part)
        if self._replaces:
            for name in OUTPUTS:
                remove(self.folder / name)
        # The state is written before the scenes: without it the next run would take them for the
        # user's file.
        self._write_state(dataclasses.replace(self._state, models=models))
        # Nothing is written through a link, which may come with a folder of somebody else.
        if self.path.is_symlink():
            raise JournalError(f"{self.path}: is a link; move it away, or choose another --output")
        self.path.touch()
        self._file = self._stack.enter_context(self.path.open("r+b"))
        # Scenes behind the last saved state are computed again.
        self._file.truncate(self._state.length)
        self._file.seek(0, os.SEEK_END)
        self._saved_s = time.monotonic()

    def _check_same(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if not names:
            return
        differences = [
            f"{printable(name)} was {_quoted(before, name)}, is {_quoted(now, name)}"
            for name in names[:MAX_DIFFERENCES]
        ]
        more = len(names) - MAX_DIFFERENCES
        others = f", and {more} more" if more > 0 else ""
        raise JournalError(
            f"{self.folder}: is of another replay: {'; '.join(differences)}{others}. Choose "
            "another --output, or replace it with --overwrite"
        )

    def _cannot_resume(self, reason: str) -> JournalError:
        return JournalError(
            f"{self.folder}: cannot be resumed ({reason}); start again with --overwrite, or choose "
            "another --output"
        )

    # -- the scenes ----------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The file of scenes."""
        return self.folder / SCENES

    @property
    def finished(self) -> bool:
        """Whether all scenes exist."""
        return self._state.finished

    @property
    def counts(self) -> Mapping[str, Any]:
        """The counts that were saved last."""
        return self._state.counts

    @property
    def models(self) -> Mapping[str, str]:
        """The names of the models in use."""
        return self._state.models

    def add(self, record: SceneRecord) -> None:
        """Append a scene."""
        assert self._file is not None
        # A file name may contain bytes that are no text; escaped as \\udcff they are valid JSON.
        self._file.write(to_line(record).encode(errors="backslashreplace") + b"\n")
        self._file.flush()

    @property
    def save_due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_s >= SAVE_EVERY_S

    def save(
        self, resume_point: ResumePoint, counts: Mapping[str, Any], *, finished: bool = False
    ) -> None:
        """Save the scenes so far, and the resume point that ``begin`` returns after a crash.

        A resume point that is too large to be read again leaves the one that was saved before.
        """
        assert self._file is not None
        saved = b"" if finished else resume.dumps(resume_point)
        if not saved and not finished:
            self._saved_s = time.monotonic()
            return
        os.fsync(self._file.fileno())
        self._write_state(
            dataclasses.replace(
                self._state,
                length=self._file.tell(),
                finished=finished,
                counts=counts,
                resume_point=saved,
            )
        )
        self._saved_s = time.monotonic()

    def scenes(self) -> Iterator[SceneRecord]:
        """Yield all scenes, one at a time in memory."""
        return read_scenes(self.path)

    # -- the outputs ---------------------------------------------------------------------------

    def output_options(self, name: str) -> str:
        """Return the options that shaped an output, "" if it does not exist."""
        exists = (self.folder / name).exists()
        return self._state.outputs.get(name, "") if exists else ""

    def new_output(self, name: str) -> Path:
        """Return a free path for an output that is being written; a later run clears it."""
        path = self._hidden / f"{name}.part"
        remove(path)
        return path

    def publish_output(self, name: str, options: str) -> None:
        """Move a complete output to its final path."""
        # The options are cleared first, so that a crash between the steps leaves no output with
        # options that are not its own.
        self._set_output_options(name, "")
        replace_path(self._hidden / f"{name}.part", self.folder / name)
        self._set_output_options(name, options)

    def _set_output_options(self, name: str, options: str) -> None:
        outputs = {**self._state.outputs, name: options}
        self._write_state(dataclasses.replace(self._state, outputs=outputs))

    # -- the state -----------------------------------------------------------------------------

    def _load_state(self) -> State | None:
        try:
            return State.from_bytes(read_file(self._state_file, HEAD_LIMIT + resume.LIMIT))
        except FileNotFoundError:
            return None

    def _read_state(self) -> State | None:
        try:
            return self._load_state()
        except ValueError as error:
            raise self._cannot_resume(str(error)) from None

    def _write_state(self, state: State) -> None:
        write_file(self._state_file, state.to_bytes())
        self._state = state


def _quoted(values: Mapping[str, str], name: str) -> str:
    return printable(repr(values.get(name, "")), LINE // 10)


def _encodable(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")


def read_scenes(path: Path) -> Iterator[SceneRecord]:
    """Yield the scenes of a file, one at a time in memory. Raises JournalError and OSError."""
    for number, line in enumerate(lines_of(path), start=1):
        try:
            yield from_line(line)
        except SceneError as error:
            raise JournalError(f"{path}, line {number}: {error}") from None


def lines_of(path: Path) -> Iterator[bytes]:
    """Yield the lines of a file, of which the first that is too long is cut off and the last."""
    with path.open("rb") as file:
        while line := file.readline(LARGEST_LINE + 2):
            yield line
            if len(line) > LARGEST_LINE + 1:
                return
