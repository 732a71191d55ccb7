"""One recording from its frames to its outputs: begun, or gone on with where a crash ended it."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from deep_perception.analyzer import Analyzer, Callbacks
from deep_perception.backends import BackendUnavailable
from deep_perception.describers.cache.wrapper import with_cache
from deep_perception.encodings import EncodingError
from deep_perception.replay.events import Note, Progress, Tell, Trouble
from deep_perception.replay.journal import Journal
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.outputs import write_outputs
from deep_perception.replay.outputs.summary import Counts, Summary, counts_from
from deep_perception.replay.recordings.bags import Frame, Recording
from deep_perception.replay.recordings.choice import Sampler
from deep_perception.replay.recordings.source import Source
from deep_perception.replay.task import Task, asked, chosen, keep_apart
from deep_perception.settings import Settings
from deep_perception.stream import Stream

__all__ = ["ReplayModels", "Task", "replay_bag"]

# How often it is told how far it is.
TELL_EVERY_S = 0.1


class ReplayModels:
    """The analyzer of a process: for one recording after the other, made when it is needed."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._analyzer: Analyzer | None = None

    def analyzer(self, say: Callable[[str], object]) -> Analyzer:
        """Wait for models that are being loaded. Raises BackendUnavailable."""
        if self._analyzer is None:
            self._analyzer = Analyzer(self._settings)
            models = self._analyzer.models
            models.describer = with_cache(models.describer, self._settings)
        self._analyzer.models.get_ready(say)
        return self._analyzer

    def close(self) -> None:
        """Give the models' memory and connections back."""
        if self._analyzer is not None:
            self._analyzer.close()


def replay_bag(task: Task, settings: Settings, models: ReplayModels, tell: Tell) -> Summary:
    """The scenes of a recording and what is made of them, in ``task.folder``.

    ``settings``: of a replay (``replay_settings``). Scenes that are there already are not made
    again. Raises BagError, JournalError, InUse and BackendUnavailable, each with a message for the
    user, and OSError. Whatever ends it, the same task goes on.
    """
    with Recording(task.bag) as recording:
        keep_apart({task.bag: recording.files}, [task.folder])
        with Journal(task.folder) as journal:
            return _replay(task, settings, models, tell, recording, journal)


def _replay(
    task: Task,
    settings: Settings,
    models: ReplayModels,
    tell: Tell,
    recording: Recording,
    journal: Journal,
) -> Summary:
    source, left_out = chosen(task, recording)
    # What a name says of a picture is no more than a guess.
    said = "".join(f"; {topic} is left out, {why}" for topic, why in left_out.items())
    tell(Note(f"{task.name}: {', '.join(source.topics)}{said}"))
    saved = journal.begin(asked(task, settings, source), task.mode)
    if journal.finished:
        tell(Note(f"{task.name}: the scenes are there already"))
    else:
        analyzer = models.analyzer(lambda line: tell(Note(line)))
        _Run(task, settings, source, journal, analyzer, tell).run(saved)
    for warning in counts_from(journal.counts).warnings:
        tell(Trouble(warning))
    return write_outputs(task.name, task.images, settings, source, journal, tell)


@dataclass
class _Known:
    """What must be known to go on behind a frame."""

    sampler: Sampler
    streams: dict[str, Stream]
    keyframes: dict[str, int]
    regions: int
    position: int
    log_ns: int


class _Run:
    """The scenes of one recording."""

    def __init__(
        self,
        task: Task,
        settings: Settings,
        source: Source,
        journal: Journal,
        analyzer: Analyzer,
        tell: Tell,
    ) -> None:
        self._name = task.name
        self._choice = task.choice
        self._settings = settings
        self._source = source
        self._journal = journal
        self._analyzer = analyzer
        self._tell = tell
        self._told_s = 0.0

    def run(self, saved: _Known | None) -> None:
        """From the beginning, or on from what was saved, to the end."""
        models = self._analyzer.models
        self._journal.open(
            {
                "the segmenter": models.segmenter.name,
                "the segmenter's model": models.segmenter.model,
                "the describer": models.describer.name,
                "the describer's model": models.describer.model,
                # A prompt may be a file, and another one under the same name.
                "the prompt": str(getattr(models.describer, "prompt_id", "")),
            }
        )
        self._before = counts_from(self._journal.counts)
        self._counts = dataclasses.replace(
            self._before, lost=dict(self._before.lost), warnings=list(self._before.warnings)
        )
        self._statistics = dict(models.statistics)
        self._started_s = time.monotonic()
        source = self._source
        known = saved or _Known(
            sampler=Sampler(self._choice.every, self._choice.rate_hz, source.recording.start_ns),
            streams={topic: Stream() for topic in source.topics},
            keyframes=dict.fromkeys(source.topics, 0),
            regions=0,
            position=-1,
            log_ns=source.start_ns,
        )
        if saved is not None:
            done = sum(known.keyframes.values())
            self._tell(Note(f"{self._name}: going on behind {done} keyframes"))
        for frame in source.recording.frames(source.topics, known.log_ns, source.stop_ns):
            if frame.position <= known.position:
                continue
            seen = self._look(frame, known)
            if seen is not None:
                self._journal.add(seen)
                known.regions += len(seen.scene.regions)
            known.position, known.log_ns = frame.position, frame.log_ns
            self._show(frame, known)
            if self._journal.due:
                self._save(known)
        self._save(known, finished=True)

    def _save(self, known: _Known, *, finished: bool = False) -> None:
        counts = self._count()
        self._journal.save(known, dataclasses.asdict(counts), finished=finished)

    def _count(self) -> Counts:
        counts = self._counts
        counts.seconds = self._before.seconds + time.monotonic() - self._started_s
        counts.since(self._before, self._analyzer.models.statistics, self._statistics)
        counts.backend_warnings = list(self._analyzer.models.warnings)
        # In no order: what lies before is not read again by a run that goes on.
        counts.warnings = sorted({*counts.warnings, *self._source.warnings})
        return counts

    def _look(self, frame: Frame, known: _Known) -> SceneRecord | None:
        """The scene of a frame, if it is a keyframe; whatever is wrong costs this frame only."""
        self._counts.frames += 1
        stream, settings = known.streams[frame.topic], self._settings
        try:
            if not known.sampler.takes(frame):
                return None
            selected = stream.select(frame.stamp_ns, frame.picture, settings.keyframes)
            if selected is None:
                return None
            callbacks = Callbacks(on_region=lambda _: self._show(frame, known))
            scene = stream.analyze(self._analyzer, selected, settings, callbacks)
        except BackendUnavailable:
            raise
        except EncodingError as error:
            self._lose(f"{frame.topic}: {error}")
            return None
        except (Exception, SystemExit) as error:  # whatever a backend raises
            self._lose(f"{frame.topic}: {type(error).__name__}: {error}")
            return None
        known.keyframes[frame.topic] += 1
        return SceneRecord(
            topic=frame.topic,
            position=frame.position,
            log_ns=frame.log_ns,
            stamp_ns=frame.stamp_ns,
            frame_id=frame.frame_id,
            keyframe=known.keyframes[frame.topic],
            reason=selected.decision.reason,
            # What a describer says of its server is of this run, not of this picture.
            scene=dataclasses.replace(scene, warnings=self._analyzer.models.replaced),
        )

    def _lose(self, reason: str) -> None:
        if self._counts.lose(" ".join(reason.split())):
            self._tell(Trouble(f"{self._name}: a frame is left out: {' '.join(reason.split())}"))

    def _show(self, frame: Frame, known: _Known) -> None:
        now_s = time.monotonic()
        if now_s - self._told_s < TELL_EVERY_S:
            return
        self._told_s = now_s
        statistics: Mapping[str, Any] = self._analyzer.models.statistics
        start_ns, stop_ns = self._source.start_ns, self._source.stop_ns
        self._tell(
            Progress(
                bag=self._name,
                step="scenes",
                share=(frame.log_ns - start_ns) / (stop_ns - start_ns),
                keyframes=sum(known.keyframes.values()),
                regions=known.regions,
                calls=statistics.get("regions_asked"),
                cache_hits=statistics.get("cache_hits"),
            )
        )
