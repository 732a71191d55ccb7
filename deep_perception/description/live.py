"""One live camera: a scene as soon as it is swept, and its descriptions as they arrive.

A keyframe is swept and matched with the known tracks, and is the newest scene from then on. Its
questions go into a ``DescriptionQueue``. An answer goes into the newest scene that shows its track,
whichever keyframe it was requested for.
"""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Generic, TypeVar

from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.describers import describes_instantly
from deep_perception.description import regions_to_describe
from deep_perception.description.queue import DescriptionQueue, View
from deep_perception.images import BgrImage
from deep_perception.label_spelling import LabelSpelling, unify_spelling
from deep_perception.regions import Description, Region, Scene
from deep_perception.settings import Settings
from deep_perception.stream import SelectedFrame, Stream

Tag = TypeVar("Tag")

# While descriptions arrive one by one, the whole scene is handed over this often.
SCENE_EVERY_S = 1.0
# Seconds between two checks whether the caller has cancelled.
CHECK_EVERY_S = 0.05


@dataclass(frozen=True, eq=False, kw_only=True)
class LiveScene(Generic[Tag]):
    """The newest scene of a camera, its HxWx3 uint8 BGR image and stamp.

    ``tag`` is what the caller wants to have with it. ``swept_s`` is the time when the sweep ended,
    in seconds of ``time.monotonic``.
    """

    scene: Scene
    image: BgrImage
    stamp_ns: int
    tag: Tag
    swept_s: float


class LiveCamera(Generic[Tag]):
    """Sweeps the keyframes of one camera, and has their regions described.

    ``sweep``, ``finish`` and ``update`` are called in the thread of the analysis; ``on_region`` and
    ``on_scene`` are called in that thread and in those of the queue, one call at a time.
    """

    def __init__(
        self,
        *,
        name: str,
        on_region: Callable[[Region, Tag], None],
        on_scene: Callable[[LiveScene[Tag]], None],
    ) -> None:
        """``on_region`` gets each region that has a new description, ``on_scene`` whole scenes."""
        self._name = name
        self._on_region = on_region
        self._on_scene = on_scene
        self.stream = Stream()
        self._queue = DescriptionQueue()
        self._lock = threading.RLock()
        self._latest: LiveScene[Tag] | None = None
        # The scene that was last spelled, and the same with one spelling for each label. It is
        # asked for several times a second.
        self._spelled: tuple[LiveScene[Tag] | None, LiveScene[Tag] | None] = (None, None)
        self._spelling = LabelSpelling()
        self._analyzer: Analyzer | None = None
        # Whether the latest scene was handed over, when, and whether it has changed since then.
        self._handed_over_s: float | None = None
        self._has_changed = False
        # The tracks that the fallback described and that were asked about again, and their limit.
        self._again: set[str] = set()
        self._again_limit = 0

    @property
    def latest(self) -> LiveScene[Tag] | None:
        """The newest scene with the descriptions that have arrived, None if there is none."""
        with self._lock:
            latest, (known, spelled) = self._latest, self._spelled
        if latest is not known:
            if latest is not None:
                regions = unify_spelling(latest.scene.regions)
                scene = dataclasses.replace(latest.scene, regions=regions)
                spelled = dataclasses.replace(latest, scene=scene)
            else:
                spelled = None
            self._spelled = latest, spelled
        return spelled

    @property
    def is_describing(self) -> bool:
        """Whether a description is on its way."""
        return self._queue.is_busy(self._name)

    @property
    def unanswered_s(self) -> float:
        """How long the describer has answered no question of any camera, 0 without a question."""
        return self._queue.unanswered_s()

    def connect(self, questions: DescriptionQueue) -> None:
        """Ask the questions through a queue from now on."""
        self._queue = questions

    def sweep(
        self,
        analyzer: Analyzer,
        frame: SelectedFrame,
        settings: Settings,
        callbacks: Callbacks,
        tag: Tag,
    ) -> LiveScene[Tag]:
        """Sweep a keyframe: its scene is the newest one. Raises what ``Stream.sweep`` raises.

        The regions that need a description are asked about. ``finish`` is to be called next.
        """

        def on_reused(region: Region) -> None:
            with self._lock:
                self._on_region(region, tag)

        callbacks = dataclasses.replace(callbacks, on_region=on_reused)
        scene = self.stream.sweep(analyzer, frame, settings, callbacks, lock=self._lock)
        latest = LiveScene(
            scene=scene,
            image=frame.image,
            stamp_ns=frame.decision.stamp_ns,
            tag=tag,
            swept_s=time.monotonic(),
        )
        with self._lock:
            self._latest, self._analyzer = latest, analyzer
            self._spelling = LabelSpelling()
            self._handed_over_s, self._has_changed = None, True
            self._again, self._again_limit = set(), settings.describer.describe_again
            self._show(latest, analyzer, self._questions(scene, analyzer))
        return latest

    def finish(self, analyzer: Analyzer, is_cancelled: Callable[[], bool]) -> None:
        """Hand over the scene of ``sweep``, with its descriptions if the describer is instant.

        Raises Cancelled, and then there is no newest scene.
        """
        if describes_instantly(analyzer.models.describer):
            self._queue.wait(self._name, is_cancelled, CHECK_EVERY_S)
        if is_cancelled():
            self.forget()
            raise Cancelled
        with self._lock:
            self._hand_over()

    def update(self, analyzer: Analyzer) -> None:
        """Hand over a scene that has changed, and ask what can be asked now.

        It is to be called about once a second: a server may be available again.
        """
        with self._lock:
            latest = self._latest
            if latest is None:
                return
            if self._has_changed:
                self._hand_over_if_due()
            if analyzer.models.loaded and not self._queue.is_busy(self._name):
                questions = self._questions(latest.scene, analyzer)
                if questions:
                    self._show(latest, analyzer, questions)

    def pause(self) -> None:
        """Drop all questions; ``update`` asks them again."""
        self._queue.forget(self._name)

    def forget(self) -> None:
        """Drop the newest scene and all questions."""
        with self._lock:
            self._latest = None
        self._queue.forget(self._name)

    def _questions(self, scene: Scene, analyzer: Analyzer) -> list[Region]:
        """Return the regions to ask about, largest first, without those asked about already."""
        models = analyzer.models
        on_the_way = {
            track_id
            for track_id, stamp_ns in self._queue.asked(self._name)
            if self.stream.is_asked(track_id, stamp_ns)
        }
        left = self._again_limit - len(self._again) if models.describes else 0
        return regions_to_describe(
            [r for r in scene.regions if r.track_id not in on_the_way | self._again],
            models.describer.name,
            left,
        )

    def _show(self, latest: LiveScene[Tag], analyzer: Analyzer, questions: list[Region]) -> None:
        for region in questions:
            self.stream.ask(region)
            if region.description.status != "pending":
                self._again.add(region.track_id)
        visible = {region.track_id for region in latest.scene.regions}
        self._queue.show(
            View(
                camera=self._name,
                image=latest.image,
                stamp_ns=latest.stamp_ns,
                describer=analyzer.models.describer,
                on_answer=self._answer,
                on_end=self._end,
                waiting=questions,
            ),
            lambda track_id, stamp_ns: (
                track_id in visible and self.stream.is_asked(track_id, stamp_ns)
            ),
        )

    def _answer(self, track_id: str, stamp_ns: int, description: Description) -> None:
        with self._lock:
            latest, analyzer = self._latest, self._analyzer
            if latest is None or analyzer is None:
                return
            if not (description.reusable or stamp_ns == latest.stamp_ns):
                return  # It names places in an image that is not the newest one.
            revision = self.stream.answer(track_id, stamp_ns, description)
            if revision is None:
                return
            by_describer = description.describer == analyzer.models.describer.name
            if not by_describer and not analyzer.models.describes:
                # The server is unavailable again, and this attempt does not count.
                self._again.discard(track_id)
            region = next((r for r in latest.scene.regions if r.track_id == track_id), None)
            is_first_choice = by_describer and description.status == "described"
            if region is None or not (region.description.status == "pending" or is_first_choice):
                return
            answered = dataclasses.replace(region, description=description, revision=revision)
            if description.status == "described":
                answered = dataclasses.replace(answered, last_described_ns=stamp_ns)
            regions = tuple(answered if r is region else r for r in latest.scene.regions)
            scene = dataclasses.replace(
                latest.scene,
                regions=regions,
                timings=latest.scene.timings.with_descriptions(time.monotonic() - latest.swept_s),
            )
            self._latest = dataclasses.replace(latest, scene=scene)
            self._has_changed = True
            spelled = self._spelling.spell(description)
            self._on_region(answered.described(spelled), latest.tag)
            self._hand_over_if_due()

    def _end(self) -> None:
        """Hand over what the last answers have changed, and what the describer says at its end."""
        with self._lock:
            latest, analyzer = self._latest, self._analyzer
            if latest is None or analyzer is None:
                return
            warnings = analyzer.models.warnings
            if warnings != latest.scene.warnings:
                scene = dataclasses.replace(latest.scene, warnings=warnings)
                self._latest = dataclasses.replace(latest, scene=scene)
                self._has_changed = True
            if self._has_changed:
                self._hand_over_if_due()

    def _hand_over_if_due(self) -> None:
        if self._handed_over_s is None:
            return  # The sweep's thread hands it over.
        is_due = time.monotonic() - self._handed_over_s >= SCENE_EVERY_S
        if is_due or not self._queue.is_busy(self._name):
            self._hand_over()

    def _hand_over(self) -> None:
        latest = self.latest
        if latest is not None:
            self._handed_over_s, self._has_changed = time.monotonic(), False
            self._on_scene(latest)
