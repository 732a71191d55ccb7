"""One camera of the node: its frames become scenes, and a bad frame costs that frame only."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.description.live import LiveCamera, LiveScene
from deep_perception.encodings import EncodingError
from deep_perception.images import BgrImage
from deep_perception.redaction.output import clean_line
from deep_perception.regions import Scene
from deep_perception.reports.messages import Keyframe
from deep_perception.ros.image_input import ImageInput
from deep_perception.ros.latest import Latest
from deep_perception.ros.publishers import Publishers
from deep_perception.ros.received_frame import ReceivedFrame
from deep_perception.settings import OutputSettings, Settings
from deep_perception.stamps import OVERTAKING_NS
from deep_perception_msgs.msg import SceneState

# Looking at a frame of 1920x1080 pixels takes several milliseconds, and nothing that stays in view
# for less than two looks is described.
LOOK_PERIOD_S = 0.1
# A comparison is made in the thread of the services: of the images of one camera, at most one
# second in so many is spent on it there.
COMPARE_SHARE = 10
# Keyframes of these reasons show another view than the latest scene.
NEW_VIEW = ("first", "scene", "view")


@dataclass(frozen=True)
class Sweeping:
    """The sweep that is under way.

    Times are in seconds of time.monotonic: when it began, and since when the view has been another
    one than that of the latest scene, None if the sweep is no sign of that.
    """

    since_s: float
    view_changed_s: float | None


class CameraPipeline:
    """Selects the keyframes of one camera, analyses them and publishes their scenes."""

    def __init__(
        self,
        *,
        name: str,
        publishers: Publishers,
        warn: Callable[[str], None],
        inform: Callable[[str], None],
    ) -> None:
        """``warn`` gets every fault and has to suppress repetitions; ``inform`` gets milestones."""
        self.name = name
        self.camera: ImageInput | None = None
        self._publishers = publishers
        self._frames: Latest[ReceivedFrame] = Latest()
        self._warn = warn
        self._inform = inform
        self.live: LiveCamera[Keyframe] = LiveCamera(
            name=name, on_region=publishers.publish_region, on_scene=self._publish_scene
        )
        self.stream = self.live.stream
        self._output = OutputSettings()
        self._published: LiveScene[Keyframe] | None = None
        # Called when the state of the scene may have changed.
        self.on_state: Callable[[CameraPipeline], None] = _ignore
        # Times in seconds of time.monotonic: of this object, of the arrival of the latest scene's
        # frame, of the arrival of the newest frame that shows its view, and since when the view
        # has differed from that of the last keyframe, which may still be swept.
        self.created_s = time.monotonic()
        self.latest_s = self.confirmed_s = self.created_s
        self._newer_view_s: float | None = None
        # The state of the scene as it was asked for last, and since when.
        self._state_since = ("", 0.0)
        self.sweeping: Sweeping | None = None
        self.counts = Counter(analysed=0, between_keyframes=0, disabled=0, failed=0, outdated=0)
        self.input_error = self.analysis_error = ""
        # The newest frame that the worker took, and the newest one that was compared with the view
        # of the last keyframe, and when.
        self._newest: ReceivedFrame | None = None
        self._compared: ReceivedFrame | None = None
        self._compared_s = 0.0
        # Whether the worker decodes an image, and the seconds of computing that one takes lately.
        self._is_decoding = False
        self._decoding_s = 0.0
        # The time that the clock was set back to while a frame was being analysed.
        self._set_back_ns: int | None = None

    @property
    def latest(self) -> tuple[Scene, Keyframe] | None:
        """The latest scene with the descriptions that have arrived, and its keyframe."""
        latest = self.live.latest
        return None if latest is None else (latest.scene, latest.tag)

    @property
    def topic(self) -> str:
        """The topic that the frames come from, "" while there is no subscription."""
        return self.camera.topic if self.camera else ""

    def process(
        self,
        frame: ReceivedFrame,
        analyzer: Analyzer,
        settings: Settings,
        is_cancelled: Callable[[], bool],
    ) -> bool:
        """Analyse a frame if it is a keyframe, and publish its scene.

        Return whether the view showed something new. Raises Cancelled and nothing else.
        """
        with self._reporting(is_cancelled):
            return self._process(frame, analyzer, settings, is_cancelled)
        return False

    @contextmanager
    def _reporting(self, is_cancelled: Callable[[], bool]) -> Iterator[None]:
        """Report every exception but a cancellation by the node."""
        try:
            yield
        except Cancelled:
            if is_cancelled():
                raise
            self.counts["outdated"] += 1
        except EncodingError as error:
            self.counts["failed"] += 1
            self.input_error = clean_line(f"{self.topic}: {error}")
            self._warn(self.input_error)
        except BaseException as error:  # also a backend's SystemExit: the node outlives it
            if is_cancelled():
                raise Cancelled from None
            self.counts["failed"] += 1
            self.analysis_error = clean_line(
                f"a frame could not be analysed: {type(error).__name__}: {error}"
            )
            self._warn(self.analysis_error)

    def _process(
        self,
        frame: ReceivedFrame,
        analyzer: Analyzer,
        settings: Settings,
        is_cancelled: Callable[[], bool],
    ) -> bool:
        header = frame.header
        self._newest = frame
        if not settings.ros.enabled:
            self.counts["disabled"] += 1
            return False
        stamp_ns = frame.stamp_ns
        is_compared = False

        def decode() -> BgrImage:
            nonlocal is_compared
            is_compared = True
            return self._decode(frame, settings)

        selected = self.stream.select(stamp_ns, decode, settings.keyframes)
        if is_compared and (selected is None or selected.is_unchanged):
            self._note_view(frame, is_new=False)
        # For a view without a change it is not worth loading the models again.
        if selected is None or (selected.is_unchanged and not analyzer.models.loaded):
            self.counts["between_keyframes"] += 1
            return False
        keyframe = Keyframe(
            header, self.counts["analysed"] + 1, selected.decision.reason, self.name
        )
        self._set_back_ns = None
        callbacks = Callbacks(
            is_cancelled=lambda: is_cancelled() or self._is_outdated(stamp_ns),
        )
        self._output = settings.output
        with self._sweeping(keyframe.reason):
            latest = self.live.sweep(analyzer, selected, settings, callbacks, keyframe)
            self.latest_s = frame.received_s
            self.confirmed_s = max(self.confirmed_s, frame.received_s)
        self.analysis_error = ""
        self.live.finish(analyzer, callbacks.is_cancelled)
        if not self.counts["analysed"]:
            scene = latest.scene
            self._inform(
                f"first scene{f' of {self.name}' if self.name else ''}: {len(scene.regions)} "
                f"regions of a {scene.size.width}x{scene.size.height} image in "
                f"{scene.timings.total_s:.2f} s"
            )
        self.counts["analysed"] += 1
        return not selected.is_unchanged

    @contextmanager
    def _sweeping(self, reason: str) -> Iterator[None]:
        now_s = time.monotonic()
        view_changed_s = (self._newer_view_s or now_s) if reason in NEW_VIEW else None
        self.sweeping, self._newer_view_s = Sweeping(now_s, view_changed_s), None
        self.on_state(self)
        try:
            yield
        except BaseException:
            self._newer_view_s = view_changed_s
            raise
        finally:
            self.sweeping = None

    def _decode(self, frame: ReceivedFrame, settings: Settings) -> BgrImage:
        # The rest never holds up a keyframe that the settings allow.
        self._frames.rest(min(LOOK_PERIOD_S, settings.keyframes.min_interval_s), self.name)
        self._is_decoding = True
        try:
            with self._decoding():
                image = self.stream.decoder.decode(frame.message)
        finally:
            self._is_decoding = False
            # One thread decodes for all cameras: one with huge images leaves half of it to others.
            if self.name and self._decoding_s > LOOK_PERIOD_S:
                self._frames.rest(self._decoding_s, self.name)
        self.input_error = ""
        self._compared, self._compared_s = frame, time.monotonic()
        return image

    @contextmanager
    def _decoding(self) -> Iterator[None]:
        # Not what others have made this thread wait: on a busy machine every image takes long.
        started_s = time.thread_time()
        try:
            yield
        finally:
            # A small image in between does not make a camera of huge ones a quick one.
            self._decoding_s = max(time.thread_time() - started_s, self._decoding_s / 2)

    def publish_state(self, state: SceneState) -> None:
        """Publish whether the latest scene is the present one."""
        self._publishers.publish_state(state)

    def _publish_scene(self, latest: LiveScene[Keyframe]) -> None:
        self._published = latest
        self._publishers.publish_scene(latest.scene, latest.image, latest.tag, self._output)
        self.on_state(self)

    # -- whether the latest scene shows what is in view -------------------------------------------

    def compare_view(self, settings: Settings, *, at_most_every_s: float) -> None:
        """Compare the newest frame with the last keyframe, unless that was done. Thread-safe.

        The worker does so itself while it is idle, and not during a sweep or within
        ``keyframes.min_interval_s``.
        """
        frame = self._frames.waiting(self.name) or self._newest
        if frame is None or frame is self._compared or not settings.ros.enabled:
            return
        if self._is_decoding:  # and so compares
            return
        every_s = max(at_most_every_s, COMPARE_SHARE * self._decoding_s)
        if time.monotonic() - self._compared_s < every_s:
            return
        self._compared, self._compared_s = frame, time.monotonic()
        # An image that cannot be decoded is reported when its turn comes.
        with suppress(EncodingError):
            with self._decoding():
                image = self.stream.decoder.preview(frame.message)
            keyframes = self.stream.keyframes
            last = keyframes.last
            change = keyframes.change_since_last(image, settings.keyframes)
            # Meanwhile the worker may have made the same frame a keyframe.
            if keyframes.last is last:
                self._note_view(frame, is_new=bool(change))

    def state_since(self, state: str, began_s: float) -> float:
        """Return since when the scene has been in a state; one that is new began at ``began_s``."""
        since = self._state_since
        if since[0] != state:
            self._state_since = since = (state, began_s)
        return since[1]

    @property
    def view_changed_s(self) -> float | None:
        """Since when the view has been another one than that of the latest scene, or None."""
        sweeping = self.sweeping
        if sweeping is not None and sweeping.view_changed_s is not None:
            return sweeping.view_changed_s
        return self._newer_view_s

    def _note_view(self, frame: ReceivedFrame, *, is_new: bool) -> None:
        if not is_new:
            self._newer_view_s = None
            self.confirmed_s = max(self.confirmed_s, frame.received_s)
        elif self._newer_view_s is None:
            self._newer_view_s = time.monotonic()

    def update(self, analyzer: Analyzer, settings: Settings) -> None:
        """Between keyframes: publish what has changed, and describe what can be described now."""
        if not settings.ros.enabled:
            self.live.pause()
            return
        with self._reporting(lambda: False):
            self.live.update(analyzer)

    def time_went_back(self, now_ns: int) -> None:
        """Withdraw what is newer than the time that the clock was set back to. Thread-safe."""
        self._set_back_ns = now_ns
        latest, published = self.live.latest, self._published
        if latest is not None and latest.stamp_ns > now_ns:
            self.live.forget()
        if published is not None and published.stamp_ns > now_ns:
            self._published = None
            self._publishers.forget(published.tag, now_ns)

    def _is_outdated(self, stamp_ns: int) -> bool:
        """Return whether time went back since a frame of this stamp came: a bag starts anew."""
        newer = self._frames.waiting(self.name)
        if newer is not None and newer.stamp_ns < stamp_ns - OVERTAKING_NS:
            return True
        set_back_ns = self._set_back_ns
        return set_back_ns is not None and stamp_ns > set_back_ns

    def connect(self, camera: ImageInput, frames: Latest[ReceivedFrame]) -> None:
        """Take frames from a camera, which leaves them in ``frames``."""
        self.camera, self._frames = camera, frames

    def disconnect(self) -> None:
        """Take no more frames; the latest scene stays."""
        self._newest = None
        if self.camera is not None:
            self.camera.close()
            self.camera = None

    def close(self) -> None:
        """Take no more frames, and destroy the publishers."""
        self.disconnect()
        self._publishers.close()


def _ignore(pipeline: CameraPipeline) -> None:
    pass
