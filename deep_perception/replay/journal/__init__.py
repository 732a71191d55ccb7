"""``scenes.jsonl`` of one recording, and how far it got: safe against kill -9 at any time."""

from __future__ import annotations

import dataclasses
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal

from deep_perception.replay.files import lock, put_in_place, remove, write_file
from deep_perception.replay.journal.pickling import Unreadable, freeze, thaw
from deep_perception.replay.journal.scenes import SceneError, SceneRecord, from_line, to_line
from deep_perception.replay.journal.state import State

Mode = Literal["go on", "resume", "overwrite"]
"""``go on`` where something unfinished is, else begin; ``resume``: there must be something."""

HIDDEN = ".replay"
# Everything that a replay writes into its folder, beside the hidden one.
OURS = SCENES, SUMMARY, PAGE, BAG = "scenes.jsonl", "summary.json", "report.html", "bag"
# A crash costs this much work at most, and the frame that it happens in.
SAVE_EVERY_S = 1.0
# So many differences are named.
DIFFERENCES = 4


class JournalError(ValueError):
    """A folder cannot be written to, or gone on with; the message says why and what to do."""


class Journal:
    """A context manager: inside of it no other process writes into the folder.

    Entering it raises InUse. Call ``begin`` first. All methods raise JournalError and OSError.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._hidden = folder / HIDDEN
        self._state_file = self._hidden / "state"
        self._state = State({})
        self._replaces = False
        self._file: BinaryIO | None = None
        self._saved_s = 0.0

    def __enter__(self) -> Journal:
        self._lock = lock(self._hidden)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        value: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            if self._file is not None:
                self._file.close()
        finally:
            self._file = None
            self._lock.release()

    # -- begin, or go on ---------------------------------------------------------------------

    def begin(self, asked: Mapping[str, str], mode: Mode) -> Any:
        """What was saved last, None at the beginning and of what is finished.

        ``asked``: by name, all that must be the same to go on.
        """
        if mode == "overwrite":
            self.outdate()
        state = self._read_state()
        if state is None or state.outdated:
            if mode == "resume":
                raise JournalError(f"{self.folder}: there is nothing to resume; leave out --resume")
            self._only_ours(state)
            self._state, self._replaces = State(asked), state is not None
            return None
        self._same(state.asked, asked)
        for left in self._hidden.glob("*.part"):
            remove(left)
        size = self.path.stat().st_size if self.path.exists() else 0
        if size < state.length or (state.finished and size > state.length):
            raise self._broken(f"{SCENES} has {size} bytes, and had {state.length}")
        self._state = state
        if state.finished or not state.frozen:
            return None
        try:
            return thaw(state.frozen)
        except Unreadable as error:
            raise self._broken(str(error)) from None

    def outdate(self) -> None:
        """Whatever is there is replaced by what begins next, also after a crash."""
        try:
            state = self._read_state() or State({})
        except JournalError:
            state = State({})
        self._write_state(dataclasses.replace(state, outdated=True))

    def keep(self) -> None:
        """Take ``outdate`` back, where nothing has begun since."""
        state = self._read_state()
        if state is not None and state.outdated:
            if state.asked:
                self._write_state(dataclasses.replace(state, outdated=False))
            else:
                remove(self._state_file)

    def _only_ours(self, state: State | None) -> None:
        """Nothing of somebody else is replaced unasked, and a recording of theirs never."""
        theirs = [name for name in OURS if (self.folder / name).exists()]
        if state is None and theirs:
            raise JournalError(
                f"{self.folder}: has a {theirs[0]} of something else; choose another --output, "
                "or replace it with --overwrite"
            )
        if state is not None and BAG in theirs and BAG not in state.made:
            raise JournalError(
                f"{self.folder / BAG}: is not known to be of a replay, and may be a recording of "
                "yours; move it away, or choose another --output"
            )

    def check_finished(self) -> None:
        """Raises JournalError where not all scenes are there."""
        state = self._read_state()
        size = self.path.stat().st_size if self.path.exists() else -1
        if state is None or state.outdated or not state.finished or size != state.length:
            raise JournalError(f"{self.folder}: its replay is not finished; run it once more")

    def open(self, models: Mapping[str, str]) -> None:
        """Before scenes are added; ``models``: those that are used, the same all along."""
        if self._state.models:
            self._same(self._state.models, models)
        if self._replaces:
            for left in [*self._hidden.glob("*.part"), *(self.folder / name for name in OURS)]:
                remove(left)
        # Before the scenes are there: else they would be of something else next time.
        self._write_state(dataclasses.replace(self._state, models=models))
        self.path.touch()
        self._file = self.path.open("r+b")
        # What came after the last save is seen again.
        self._file.truncate(self._state.length)
        self._file.seek(0, os.SEEK_END)
        self._saved_s = time.monotonic()

    def _same(self, before: Mapping[str, str], now: Mapping[str, str]) -> None:
        names = [name for name in {**before, **now} if before.get(name) != now.get(name)]
        if not names:
            return
        said = [
            f"{name} was {before.get(name, '')!r}, is {now.get(name, '')!r}"
            for name in names[:DIFFERENCES]
        ]
        more = f", and {len(names) - DIFFERENCES} more" if len(names) > DIFFERENCES else ""
        raise JournalError(
            f"{self.folder}: is of another replay: {'; '.join(said)}{more}. Choose another "
            "--output, or replace it with --overwrite"
        )

    def _broken(self, reason: str) -> JournalError:
        return JournalError(
            f"{self.folder}: cannot be gone on with ({reason}); begin anew with --overwrite"
        )

    # -- the scenes --------------------------------------------------------------------------

    @property
    def path(self) -> Path:
        """The file of scenes."""
        return self.folder / SCENES

    @property
    def finished(self) -> bool:
        """Whether all scenes are there."""
        return self._state.finished

    @property
    def counts(self) -> Mapping[str, Any]:
        """As they were saved last."""
        return self._state.counts

    @property
    def models(self) -> Mapping[str, str]:
        """Those that are used."""
        return self._state.models

    def add(self, seen: SceneRecord) -> None:
        """One more scene."""
        assert self._file is not None
        # A name of a file may hold what is no character; as \\udcff it is JSON all the same.
        self._file.write(to_line(seen).encode(errors="backslashreplace") + b"\n")
        self._file.flush()

    @property
    def due(self) -> bool:
        """Whether it is time to save."""
        return time.monotonic() - self._saved_s >= SAVE_EVERY_S

    def save(self, progress: object, counts: Mapping[str, Any], *, finished: bool = False) -> None:
        """Go on from here after a crash; ``progress`` is what ``begin`` gives then."""
        assert self._file is not None
        os.fsync(self._file.fileno())
        self._write_state(
            dataclasses.replace(
                self._state,
                length=self._file.tell(),
                finished=finished,
                counts=counts,
                frozen=b"" if finished else freeze(progress),
            )
        )
        self._saved_s = time.monotonic()

    def scenes(self) -> Iterator[SceneRecord]:
        """All scenes, one at a time in memory."""
        return read_scenes(self.path)

    # -- what is made of them ----------------------------------------------------------------

    def made(self, name: str) -> str:
        """What shaped an output that is there, "" when it is not."""
        there = (self.folder / name).exists()
        return self._state.made.get(name, "") if there else ""

    def part(self, name: str) -> Path:
        """Where to make an output: nothing is there, and what is left there goes by itself."""
        path = self._hidden / f"{name}.part"
        remove(path)
        return path

    def put(self, name: str, shaped_by: str) -> None:
        """An output is made: put it in its place."""
        # First: of what a crash leaves between the two it must not be said that it is this.
        self._note(name, "")
        put_in_place(self._hidden / f"{name}.part", self.folder / name)
        self._note(name, shaped_by)

    def _note(self, name: str, shaped_by: str) -> None:
        made = {**self._state.made, name: shaped_by}
        self._write_state(dataclasses.replace(self._state, made=made))

    # -- the state ---------------------------------------------------------------------------

    def _read_state(self) -> State | None:
        try:
            return State.from_bytes(self._state_file.read_bytes())
        except FileNotFoundError:
            return None
        except (ValueError, TypeError, KeyError) as error:
            raise self._broken(str(error)) from None

    def _write_state(self, state: State) -> None:
        write_file(self._state_file, state.to_bytes())
        self._state = state


def read_scenes(path: Path) -> Iterator[SceneRecord]:
    """The scenes of a file, one at a time in memory. Raises JournalError and OSError."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                yield from_line(line.decode())
            except (SceneError, UnicodeDecodeError) as error:
                raise JournalError(f"{path}, line {number}: {error}") from None
