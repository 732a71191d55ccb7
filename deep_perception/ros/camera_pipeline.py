"""One camera's side of the node: its frames become scenes, whatever is wrong with one of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from deep_perception import encodings
from deep_perception.analyzer import Analyzer, Cancelled
from deep_perception.encodings import EncodingError
from deep_perception.images import BgrImage
from deep_perception.keyframes import OVERTAKING_NS
from deep_perception.regions import Region, Scene
from deep_perception.ros import messages
from deep_perception.ros.image_input import ImageInput, ReceivedFrame
from deep_perception.ros.latest import Latest
from deep_perception.ros.messages import NANOSECONDS, Keyframe
from deep_perception.ros.publishers import Publishers
from deep_perception.settings import Settings
from deep_perception.stream import Stream


class CameraPipeline:
    """What is known of one camera.

    ``tell`` gets a line for everything that goes wrong and sees to it that nothing is said twice;
    ``note`` gets what is good to know.
    """

    def __init__(
        self,
        *,
        name: str,
        outputs: Publishers,
        tell: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self.name = name
        self.camera: ImageInput | None = None
        self._outputs = outputs
        self._frames: Latest[ReceivedFrame] = Latest()
        self._tell = tell
        self._note = note
        self.stream = Stream()
        self.latest: tuple[Scene, Keyframe] | None = None
        # When its frame came, seconds of time.monotonic.
        self.latest_s = 0.0
        self.counts = Counter(analysed=0, between_keyframes=0, disabled=0, failed=0, outdated=0)
        self.input_error = self.analysis_error = ""
        # The frame that waited when last asked, and whether it is a keyframe.
        self._looked_at: ReceivedFrame | None = None
        self._wanted = False
        # The picture of the latest scene, and how many of its regions may be described again.
        self._shown: BgrImage | None = None
        self._again = 0
        # What the clock was set back to while a frame was in the works.
        self._set_back_ns: int | None = None

    @property
    def topic(self) -> str:
        """Where the frames come from; "" while nothing is subscribed to."""
        return self.camera.topic if self.camera else ""

    def process(
        self,
        frame: ReceivedFrame,
        analyzer: Analyzer,
        settings: Settings,
        cancelled: Callable[[], bool],
    ) -> bool:
        """Analyse a frame, if it is worth it, and publish. Raises Cancelled and nothing else.

        Returns whether that was work: something new was in it.
        """
        with self._said(cancelled):
            return self._process(frame, analyzer, settings, cancelled)
        return False

    @contextmanager
    def _said(self, cancelled: Callable[[], bool]) -> Iterator[None]:
        """Whatever goes wrong is said, and costs this frame only."""
        try:
            yield
        except Cancelled:
            if cancelled():
                raise
            self.counts["outdated"] += 1
        except EncodingError as error:
            self.counts["failed"] += 1
            self.input_error = f"{self.topic}: {error}"
            self._tell(self.input_error)
        except BaseException as error:  # also a backend's SystemExit: the node outlives it
            if cancelled():
                raise Cancelled from None
            self.counts["failed"] += 1
            self.analysis_error = f"a frame could not be analysed: {type(error).__name__}: {error}"
            self._tell(self.analysis_error)

    def _process(
        self,
        frame: ReceivedFrame,
        analyzer: Analyzer,
        settings: Settings,
        cancelled: Callable[[], bool],
    ) -> bool:
        header = frame.message.header
        if not settings.ros.enabled:
            self.counts["disabled"] += 1
            return False
        stamp_ns = _stamp_ns(frame)
        if not header.stamp.sec and not header.stamp.nanosec:
            self._tell(f"images on {self.topic} have no stamp; arrival time is used")
        if not self.stream.keyframes.due(stamp_ns, settings.keyframes):
            self.counts["between_keyframes"] += 1
            return False
        image = encodings.message_to_bgr(frame.message)
        self.input_error = ""
        decision = self.stream.keyframes.decide(image, stamp_ns, settings.keyframes)
        if decision is None:
            self.counts["between_keyframes"] += 1
            return False
        still = decision.changed is not None and not decision.changed.any()
        if still and not analyzer.models.loaded:
            # Not worth loading them again.
            self.counts["between_keyframes"] += 1
            return False
        keyframe = Keyframe(header, self.counts["analysed"] + 1, decision.reason, self.name)
        self._set_back_ns = None

        def unwanted() -> bool:
            return cancelled() or self._outdated(stamp_ns)

        scene = self.stream.analyze(
            analyzer,
            image,
            decision,
            on_region=lambda region: self._outputs.publish_region(region, keyframe),
            cancelled=unwanted,
            superseded=lambda: (
                settings.describer.new_keyframe == "cancel" and self.has_newer(settings)
            ),
        )
        if unwanted():
            raise Cancelled
        if not self.counts["analysed"]:
            self._note(
                f"first scene{f' of {self.name}' if self.name else ''}: {len(scene.regions)} "
                f"regions of a {scene.size.width}x{scene.size.height} picture in "
                f"{scene.timings.total_s:.2f} s"
            )
        self.latest, self.latest_s = (scene, keyframe), frame.received_s
        self._shown, self._again = image, settings.describer.describe_again
        self.counts["analysed"] += 1
        self.analysis_error = ""
        self._outputs.publish_scene(scene, image, keyframe, settings.output)
        return not still

    def has_newer(self, settings: Settings) -> bool:
        """Whether a frame waits that is a keyframe."""
        frame = self._frames.waiting(self.name)
        if frame is None or not settings.ros.enabled:
            return False
        if frame is not self._looked_at:
            self._looked_at, self._wanted = frame, False
            stamp_ns = _stamp_ns(frame)
            if self.stream.keyframes.due(stamp_ns, settings.keyframes):
                with suppress(EncodingError):  # said when its turn comes
                    image = encodings.message_to_bgr(frame.message)
                    found = self.stream.keyframes.preview(image, stamp_ns, settings.keyframes)
                    self._wanted = found is not None
        return self._wanted

    def describe_again(
        self,
        analyzer: Analyzer,
        settings: Settings,
        cancelled: Callable[[], bool],
        superseded: Callable[[], bool],
    ) -> None:
        """Give regions words that are pending or came from the fallback, between keyframes."""
        if self.latest is None or self._shown is None or not settings.ros.enabled:
            return
        scene, keyframe = self.latest
        stamp_ns = messages.stamp_ns(keyframe.header.stamp)
        self._set_back_ns = None

        def unwanted() -> bool:
            return cancelled() or self._outdated(stamp_ns)

        with self._said(cancelled):
            regions = analyzer.unfinished(scene, self._again)
            if not regions:
                return
            again = {r.index for r in regions if r.description.status != "pending"}
            self._again -= len(again)
            said: set[int] = set()

            def publish(region: Region) -> None:
                said.add(region.index)
                self._outputs.publish_region(region, keyframe)

            better = self.stream.describe_again(
                analyzer,
                self._shown,
                regions,
                on_region=publish,
                cancelled=unwanted,
                superseded=superseded,
            )
            if unwanted():
                raise Cancelled
            if superseded() or not analyzer.models.describes:
                # It gave way, or the server is gone again: the others may have their turn later.
                self._again += len(again - said)
            if said:
                self.latest = better, keyframe
                self._outputs.publish_scene(better, self._shown, keyframe, settings.output)

    def time_went_back(self, now_ns: int) -> None:
        """The clock was set back: what was seen later than that is no more. From any thread."""
        self._set_back_ns = now_ns
        latest = self.latest
        if latest is not None and messages.stamp_ns(latest[1].header.stamp) > now_ns:
            self.latest = None
            self._outputs.forget(latest[1], now_ns)

    def _outdated(self, stamp_ns: int) -> bool:
        """Whether time went back since a frame of this stamp came: a bag that starts anew."""
        newer = self._frames.waiting(self.name)
        if newer is not None and _stamp_ns(newer) < stamp_ns - OVERTAKING_NS:
            return True
        set_back_ns = self._set_back_ns
        return set_back_ns is not None and stamp_ns > set_back_ns

    def connect(self, camera: ImageInput, frames: Latest[ReceivedFrame]) -> None:
        """Frames come from here; ``frames`` is the mailbox that the camera leaves them in."""
        self.camera, self._frames = camera, frames

    def disconnect(self) -> None:
        """No frames any more; the latest scene stays."""
        if self.camera is not None:
            self.camera.close()
            self.camera = None

    def close(self) -> None:
        """Publish no more."""
        self.disconnect()
        self._outputs.close()


def _stamp_ns(frame: ReceivedFrame) -> int:
    """The frame's stamp. A driver that leaves it empty would otherwise get one keyframe, ever."""
    return messages.stamp_ns(frame.message.header.stamp) or int(frame.received_s * NANOSECONDS)
