"""One camera of the node: its frames become scenes, and a bad frame costs that frame only."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from deep_perception.analyzer import Analyzer, Callbacks, Cancelled
from deep_perception.encodings import EncodingError
from deep_perception.images import BgrImage
from deep_perception.regions import Region, Scene
from deep_perception.reports.messages import Keyframe
from deep_perception.ros.image_input import ImageInput, ReceivedFrame, look_period_s
from deep_perception.ros.latest import Latest
from deep_perception.ros.publishers import Publishers
from deep_perception.settings import Settings
from deep_perception.stamps import OVERTAKING_NS
from deep_perception.stream import Stream


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
        self.stream = Stream()
        self.latest: tuple[Scene, Keyframe] | None = None
        # When the frame of the latest scene arrived, in seconds of time.monotonic.
        self.latest_s = 0.0
        self._latest_ns = 0
        self.counts = Counter(analysed=0, between_keyframes=0, disabled=0, failed=0, outdated=0)
        self.input_error = self.analysis_error = ""
        # The waiting frame that has_newer looked at last, and whether it is a keyframe.
        self._peeked: ReceivedFrame | None = None
        self._peeked_is_keyframe = False
        # The image of the latest scene, and how many of its regions may still be described again.
        self._latest_image: BgrImage | None = None
        self._describe_again_left = 0
        # The time that the clock was set back to while a frame was being analysed.
        self._set_back_ns: int | None = None

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
            self.input_error = f"{self.topic}: {error}"
            self._warn(self.input_error)
        except BaseException as error:  # also a backend's SystemExit: the node outlives it
            if is_cancelled():
                raise Cancelled from None
            self.counts["failed"] += 1
            self.analysis_error = f"a frame could not be analysed: {type(error).__name__}: {error}"
            self._warn(self.analysis_error)

    def _process(
        self,
        frame: ReceivedFrame,
        analyzer: Analyzer,
        settings: Settings,
        is_cancelled: Callable[[], bool],
    ) -> bool:
        header = frame.header
        if not settings.ros.enabled:
            self.counts["disabled"] += 1
            return False
        stamp_ns = frame.stamp_ns
        selected = self.stream.select(
            stamp_ns, lambda: self._decode(frame, settings), settings.keyframes
        )
        # For a view without a change it is not worth loading the models again.
        if selected is None or (selected.is_unchanged and not analyzer.models.loaded):
            self.counts["between_keyframes"] += 1
            return False
        keyframe = Keyframe(
            header, self.counts["analysed"] + 1, selected.decision.reason, self.name
        )
        callbacks = self._callbacks(
            stamp_ns,
            is_cancelled,
            is_superseded=lambda: (
                settings.describer.new_keyframe == "cancel" and self.has_newer(settings)
            ),
            on_region=lambda region: self._publishers.publish_region(region, keyframe),
        )
        scene = self.stream.analyze(analyzer, selected, settings, callbacks)
        callbacks.raise_if_cancelled()
        if not self.counts["analysed"]:
            self._inform(
                f"first scene{f' of {self.name}' if self.name else ''}: {len(scene.regions)} "
                f"regions of a {scene.size.width}x{scene.size.height} image in "
                f"{scene.timings.total_s:.2f} s"
            )
        self.latest, self.latest_s = (scene, keyframe), frame.received_s
        self._latest_ns = stamp_ns
        self._latest_image = selected.image
        self._describe_again_left = settings.describer.describe_again
        self.counts["analysed"] += 1
        self.analysis_error = ""
        self._publishers.publish_scene(scene, selected.image, keyframe, settings.output)
        return not selected.is_unchanged

    def _decode(self, frame: ReceivedFrame, settings: Settings) -> BgrImage:
        self._frames.rest(look_period_s(settings.keyframes), self.name)
        image = self.stream.decoder.decode(frame.message)
        self.input_error = ""
        return image

    def _callbacks(
        self,
        stamp_ns: int,
        is_cancelled: Callable[[], bool],
        *,
        is_superseded: Callable[[], bool],
        on_region: Callable[[Region], None],
    ) -> Callbacks:
        self._set_back_ns = None
        return Callbacks(
            on_region=on_region,
            is_cancelled=lambda: is_cancelled() or self._is_outdated(stamp_ns),
            is_superseded=is_superseded,
        )

    def has_newer(self, settings: Settings) -> bool:
        """Return whether a waiting frame is a keyframe."""
        frame = self._frames.waiting(self.name)
        if frame is None or not settings.ros.enabled:
            return False
        if frame is not self._peeked:
            self._peeked, self._peeked_is_keyframe = frame, False
            # An image that cannot be decoded is reported when its turn comes.
            with suppress(EncodingError):
                self._peeked_is_keyframe = self.stream.would_select(
                    frame.stamp_ns,
                    lambda: self.stream.decoder.preview(frame.message),
                    settings.keyframes,
                )
        return self._peeked_is_keyframe

    def describe_again(
        self,
        analyzer: Analyzer,
        settings: Settings,
        is_cancelled: Callable[[], bool],
        is_superseded: Callable[[], bool],
    ) -> None:
        """Describe regions that are pending or that the fallback described, between keyframes."""
        if self.latest is None or self._latest_image is None or not settings.ros.enabled:
            return
        scene, keyframe = self.latest
        with self._reporting(is_cancelled):
            regions = analyzer.undescribed_regions(scene, self._describe_again_left)
            if not regions:
                return
            attempts = {r.index for r in regions if r.description.status != "pending"}
            self._describe_again_left -= len(attempts)
            published: set[int] = set()

            def publish(region: Region) -> None:
                published.add(region.index)
                self._publishers.publish_region(region, keyframe)

            callbacks = self._callbacks(
                self._latest_ns,
                is_cancelled,
                is_superseded=is_superseded,
                on_region=publish,
            )
            updated = self.stream.describe_again(analyzer, self._latest_image, regions, callbacks)
            callbacks.raise_if_cancelled()
            if is_superseded() or not analyzer.models.describes:
                # A newer frame came, or the server is unavailable again: these attempts do not
                # count, and the regions may have their turn later.
                self._describe_again_left += len(attempts - published)
            if published:
                self.latest = updated, keyframe
                self._publishers.publish_scene(
                    updated, self._latest_image, keyframe, settings.output
                )

    def time_went_back(self, now_ns: int) -> None:
        """Withdraw what is newer than the time that the clock was set back to. Thread-safe."""
        self._set_back_ns = now_ns
        latest = self.latest
        if latest is not None and self._latest_ns > now_ns:
            self.latest = None
            self._publishers.forget(latest[1], now_ns)

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
        if self.camera is not None:
            self.camera.close()
            self.camera = None

    def close(self) -> None:
        """Take no more frames, and destroy the publishers."""
        self.disconnect()
        self._publishers.close()
