"""The replay of one recording, from its frames to its outputs, also after an interruption."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterable, Mapping
from typing import Any

from deep_perception.analyzer import Analyzer, Callbacks
from deep_perception.backends import BackendUnavailable
from deep_perception.describers.cache.wrapper import with_cache
from deep_perception.encodings import EncodingError
from deep_perception.redaction.output import clean_line
from deep_perception.replay.events import Emit, Notice, Problem, Progress
from deep_perception.replay.journal import Journal
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.outputs import write_outputs
from deep_perception.replay.outputs.summary import Counts, Summary, counts_from
from deep_perception.replay.recordings.bags import RecordedFrame, Recording
from deep_perception.replay.recordings.choice import Sampler
from deep_perception.replay.recordings.source import ReplaySource
from deep_perception.replay.resume_point import ResumePoint
from deep_perception.replay.task import Task, check_outputs_outside, scene_inputs, select_source
from deep_perception.settings import Settings
from deep_perception.stamps import MAX_FRAME_ID, FrameStamps, header_of
from deep_perception.stream import Stream
from deep_perception.untrusted.text import LINE, printable

__all__ = ["LazyAnalyzer", "Task", "replay_bag"]

# Seconds between two Progress events.
PROGRESS_PERIOD_S = 0.1


class LazyAnalyzer:
    """The analyzer of a process for one recording after another, created on first use."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._analyzer: Analyzer | None = None

    def get(self, emit: Emit) -> Analyzer:
        """Return the analyzer once its models are loaded. Raises BackendUnavailable."""
        if self._analyzer is None:
            self._analyzer = Analyzer(self._settings)
            models = self._analyzer.models
            models.describer = with_cache(models.describer, self._settings)
        self._analyzer.models.get_ready(lambda line: emit(Notice(line)))
        return self._analyzer

    def close(self) -> None:
        """Release the memory and the connections of the models."""
        if self._analyzer is not None:
            self._analyzer.close()


def replay_bag(task: Task, settings: Settings, analyzer: LazyAnalyzer, emit: Emit) -> Summary:
    """Write the scenes of a recording and its outputs into ``task.folder``.

    ``settings`` are those of a replay (``replay_settings``). Scenes that exist are not computed
    again; after any interruption the same task continues. Raises BagError, JournalError,
    FolderInUse and BackendUnavailable, each with a message for the user, and OSError.
    """
    with Recording(task.bag) as recording:
        check_outputs_outside({task.bag: recording.files}, [task.folder])
        with Journal(task.folder) as journal:
            return _replay(task, settings, analyzer, emit, recording, journal)


def _replay(
    task: Task,
    settings: Settings,
    analyzer: LazyAnalyzer,
    emit: Emit,
    recording: Recording,
    journal: Journal,
) -> Summary:
    source, left_out = select_source(task, recording)
    # The user sees which topics are left out, because they are judged by their names only.
    others = "".join(f"; {topic} is left out, {why}" for topic, why in left_out.items())
    emit(Notice(f"{task.name}: {', '.join(source.topics)}{others}"))
    inputs = scene_inputs(task, settings, source)
    saved = journal.begin(inputs, task.mode, settings, source.topics)
    if journal.finished:
        emit(Notice(f"{task.name}: all scenes exist already"))
    else:
        _Run(task, settings, source, journal, analyzer.get(emit), emit).run(saved)
    for warning in counts_from(journal.counts).warnings:
        emit(Problem(warning))
    return write_outputs(task.name, task.images, settings, source, journal, emit)


class _Run:
    """Computes the scenes of one recording."""

    def __init__(
        self,
        task: Task,
        settings: Settings,
        source: ReplaySource,
        journal: Journal,
        analyzer: Analyzer,
        emit: Emit,
    ) -> None:
        self._name = task.name
        self._choice = task.choice
        self._settings = settings
        self._source = source
        self._journal = journal
        self._analyzer = analyzer
        self._emit = emit
        self._last_progress_s = 0.0

    def run(self, saved: ResumePoint | None) -> None:
        """Read all frames, or those behind the saved point."""
        models = self._analyzer.models
        self._journal.open(
            {
                "the segmenter": models.segmenter.name,
                "the segmenter's model": models.segmenter.model,
                "the describer": models.describer.name,
                "the describer's model": models.describer.model,
                # The setting may name a file, whose content can change under the same name.
                "the prompt": models.prompt_id,
            }
        )
        self._before = counts_from(self._journal.counts)
        self._counts = dataclasses.replace(
            self._before, lost=dict(self._before.lost), warnings=list(self._before.warnings)
        )
        self._statistics = dict(models.statistics)
        self._started_s = time.monotonic()
        source = self._source
        point = saved or ResumePoint(
            sampler=Sampler(self._choice.every, self._choice.rate_hz, source.recording.start_ns),
            streams={topic: Stream() for topic in source.topics},
            stamps={topic: FrameStamps() for topic in source.topics},
            keyframes=dict.fromkeys(source.topics, 0),
            regions=0,
            position=-1,
            log_ns=source.start_ns,
        )
        if saved is not None:
            done = sum(point.keyframes.values())
            self._emit(Notice(f"{self._name}: resuming behind {done} keyframes"))
        for frame in source.recording.frames(source.topics, point.log_ns, source.stop_ns):
            if frame.position <= point.position:
                continue
            record = self._analyze(frame, point)
            if record is not None:
                self._journal.add(record)
                point.regions += len(record.scene.regions)
            point.position, point.log_ns = frame.position, frame.log_ns
            self._emit_progress(frame, point)
            if self._journal.save_due:
                self._save(point)
        self._save(point, finished=True)

    def _save(self, point: ResumePoint, *, finished: bool = False) -> None:
        self._journal.save(point, dataclasses.asdict(self._update_counts()), finished=finished)

    def _update_counts(self) -> Counts:
        counts = self._counts
        counts.seconds = self._before.seconds + time.monotonic() - self._started_s
        counts.add_statistics(self._before, self._analyzer.models.statistics, self._statistics)
        counts.backend_warnings = list(self._analyzer.models.warnings)
        # Sorted, because a resumed run does not read the earlier part of the recording again and
        # finds the warnings in another order.
        counts.warnings = sorted({*counts.warnings, *self._source.warnings})
        return counts

    def _analyze(self, frame: RecordedFrame, point: ResumePoint) -> SceneRecord | None:
        """Return the scene of a frame if it is a keyframe; an error costs this frame only."""
        self._counts.frames += 1
        stream, settings = point.streams[frame.topic], self._settings
        stamp_ns = self._effective_ns(frame, point.stamps[frame.topic])
        try:
            if not point.sampler.takes(frame):
                return None
            selected = stream.select(
                stamp_ns,
                lambda: stream.decoder.decode(frame.message()),
                settings.keyframes,
            )
            if selected is None:
                return None
            callbacks = Callbacks(on_region=lambda _: self._emit_progress(frame, point))
            scene = stream.analyze(self._analyzer, selected, settings, callbacks)
        except BackendUnavailable:
            raise
        except EncodingError as error:
            self._leave_out(f"{frame.topic}: {error}")
            return None
        except (Exception, SystemExit) as error:  # a backend of the user may raise anything
            self._leave_out(f"{frame.topic}: {type(error).__name__}: {error}")
            return None
        point.keyframes[frame.topic] += 1
        return SceneRecord(
            topic=frame.topic,
            position=frame.position,
            log_ns=frame.log_ns,
            stamp_ns=stamp_ns,
            # It comes from the recording and goes into JSON, the page and datasets.
            frame_id=printable(frame.frame_id, MAX_FRAME_ID),
            keyframe=point.keyframes[frame.topic],
            reason=selected.decision.reason,
            # A describer's warnings about its server depend on this run and not on the image.
            scene=dataclasses.replace(scene, warnings=self._analyzer.models.replaced),
        )

    def _effective_ns(self, frame: RecordedFrame, stamps: FrameStamps) -> int:
        before = stamps.problem
        effective_ns = stamps.effective_ns(header_of(frame.data)[0], frame.log_ns)
        topic = f"the images of {frame.topic} "
        if stamps.problem and not before and not _begins(self._counts.warnings, topic):
            self._counts.warnings.append(f"{topic}{stamps.problem}; the time of recording is used")
        return effective_ns

    def _leave_out(self, reason: str) -> None:
        line = clean_line(" ".join(reason.split()), LINE // 4)
        if self._counts.add_lost(line):
            self._emit(Problem(f"{self._name}: a frame is left out: {line}"))

    def _emit_progress(self, frame: RecordedFrame, point: ResumePoint) -> None:
        now_s = time.monotonic()
        if now_s - self._last_progress_s < PROGRESS_PERIOD_S:
            return
        self._last_progress_s = now_s
        statistics: Mapping[str, Any] = self._analyzer.models.statistics
        self._emit(
            Progress(
                bag=self._name,
                step="scenes",
                share=self._source.share(frame.log_ns),
                keyframes=sum(point.keyframes.values()),
                regions=point.regions,
                calls=statistics.get("regions_asked"),
                cache_hits=statistics.get("cache_hits"),
            )
        )


def _begins(lines: Iterable[str], text: str) -> bool:
    return any(line.startswith(text) for line in lines)
