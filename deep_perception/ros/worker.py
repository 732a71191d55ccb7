"""The thread that analyses: newest frame in, scene out, whatever a frame or a backend does."""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable

from deep_perception.analyzer import Analyzer, Cancelled
from deep_perception.encodings import EncodingError
from deep_perception.keyframes import Keyframes
from deep_perception.regions import Scene
from deep_perception.ros import messages
from deep_perception.ros.cameras import Camera, Frame
from deep_perception.ros.messages import NANOSECONDS, Keyframe
from deep_perception.ros.outputs import Outputs
from deep_perception.settings import Settings

# `ros2 launch` asks with SIGTERM after 5 s and kills after 10 s.
STOP_WITHIN_S = 3.0


class Worker:
    """Analyses the newest frame of a camera until it is stopped.

    ``tell`` gets a line for everything that goes wrong and sees to it that nothing is said twice;
    ``note`` gets what is good to know.
    """

    def __init__(
        self,
        *,
        camera: Camera,
        outputs: Outputs,
        analyzer: Analyzer,
        settings: Callable[[], Settings],
        tell: Callable[[str], None],
        note: Callable[[str], None],
    ) -> None:
        self._camera = camera
        self._outputs = outputs
        self._analyzer = analyzer
        self._settings = settings
        self._tell = tell
        self._note = note
        self._keyframes = Keyframes()
        self._stopping = threading.Event()
        self._busy_since_s: float | None = None
        self.latest: tuple[Scene, Keyframe] | None = None
        self.counts = Counter(analysed=0, between_keyframes=0, disabled=0, failed=0)
        self.input_error = self.analysis_error = ""
        self._thread = threading.Thread(target=self._work, name="analyzer", daemon=True)
        self._thread.start()

    @property
    def busy_s(self) -> float:
        """How long the frame in hand has taken so far, 0 when there is none."""
        since = self._busy_since_s
        return time.monotonic() - since if since is not None else 0.0

    def stop(self) -> None:
        """Give up the frame in hand and free the models, or leave a backend that hangs behind."""
        self._stopping.set()
        self._camera.frames.close()
        self._thread.join(timeout=STOP_WITHIN_S)
        if not self._thread.is_alive():
            self._analyzer.close()

    def _work(self) -> None:
        while (frame := self._camera.frames.take()) is not None:
            self._busy_since_s = time.monotonic()
            try:
                self._process(frame)
            except Cancelled:
                return
            except EncodingError as error:
                self.counts["failed"] += 1
                self.input_error = f"{self._camera.topic}: {error}"
                self._tell(self.input_error)
            except BaseException as error:  # also a backend's SystemExit: the node outlives it
                if self._stopping.is_set():
                    return
                self.counts["failed"] += 1
                self.analysis_error = (
                    f"a frame could not be analysed: {type(error).__name__}: {error}"
                )
                self._tell(self.analysis_error)
            finally:
                self._busy_since_s = None

    def _process(self, frame: Frame) -> None:
        settings = self._settings()
        header = frame.message.header
        if not settings.ros.enabled:
            self.counts["disabled"] += 1
            return
        stamp_ns = header.stamp.sec * NANOSECONDS + header.stamp.nanosec
        if stamp_ns == 0:
            # A driver that leaves the stamp empty would otherwise get one keyframe, ever.
            self._tell(f"images on {self._camera.topic} have no stamp; arrival time is used")
            stamp_ns = int(frame.received_s * NANOSECONDS)
        reason = self._keyframes.reason(stamp_ns, settings.keyframes)
        if not reason:
            self.counts["between_keyframes"] += 1
            return
        image = messages.picture(frame.message)
        self._keyframes.took(stamp_ns)
        self.input_error = ""
        keyframe = Keyframe(header, self.counts["analysed"] + 1, reason)
        self._analyzer.settings = settings
        scene = self._analyzer.analyze(
            image,
            on_region=lambda region: self._outputs.publish_region(region, keyframe),
            cancelled=self._stopping.is_set,
        )
        if self.latest is None:
            self._note(
                f"first scene: {len(scene.regions)} regions of a {scene.size.width}x"
                f"{scene.size.height} picture in {scene.timings.total_s:.2f} s"
            )
        self.latest = scene, keyframe
        self.counts["analysed"] += 1
        self.analysis_error = ""
        self._outputs.publish_scene(scene, image, keyframe, settings.output)
