"""The ``analyzer`` node: newest frame in, described scene out."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
import threading
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from deep_perception.analyzer import Analyzer
from deep_perception.backends import BackendUnavailable
from deep_perception.encodings import EncodingError
from deep_perception.keyframes import Keyframes
from deep_perception.regions import Scene
from deep_perception.reports import to_dict
from deep_perception.ros import diagnostics, messages, parameters
from deep_perception.ros.cameras import Camera, Frame
from deep_perception.ros.logs import RosLog
from deep_perception.ros.messages import NANOSECONDS, Keyframe
from deep_perception.ros.outputs import Outputs
from deep_perception.settings import Settings, SettingsError
from deep_perception_msgs.srv import GetScene

LOOK_FOR_INPUT_S = 0.5


class AnalyzerNode(Node):
    """Callbacks store the newest frame; a worker thread analyses it and publishes."""

    def __init__(self, **node_arguments: Any) -> None:
        """Raises SettingsError or BackendUnavailable when it cannot work as it was asked to."""
        super().__init__("analyzer", **node_arguments)
        self._settings = parameters.declare(self, self._on_settings)
        logging.getLogger("deep_perception").addHandler(RosLog(self.get_logger()))
        self._analyzer = Analyzer(self._settings)
        self._outputs = Outputs(self)
        self._camera = Camera(self, self._settings.ros)
        self._keyframes = Keyframes()
        self._latest: tuple[Scene, Keyframe] | None = None
        self._counts = {"analysed": 0, "between_keyframes": 0, "disabled": 0, "failed": 0}
        self._input_error = self._analysis_error = ""
        self._told: set[str] = set()
        self._diagnostics = diagnostics.Diagnostics(self)
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        self.create_service(GetScene, "~/get_scene", self._on_get_scene)
        # Wall time: a paused simulation must not stop the watch over the input.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_FOR_INPUT_S, self._look_for_input, clock=steady)
        period = self._settings.ros.diagnostics_period_s
        self.create_timer(period, self._publish_diagnostics, clock=steady)
        self._worker = threading.Thread(target=self._work, name="analyzer", daemon=True)
        self._worker.start()
        self.get_logger().info(
            f"waiting for images on {self._camera.topic}; publishing under "
            f"{self.get_fully_qualified_name()}/"
        )

    def close(self) -> None:
        """Stop the worker after the frame in hand and give the models back."""
        self._camera.frames.close()
        self._worker.join(timeout=10.0)
        self._analyzer.close()

    # -- the worker -----------------------------------------------------------------------------

    def _work(self) -> None:
        while (frame := self._camera.frames.take()) is not None:
            try:
                self._process(frame)
            except EncodingError as error:
                self._counts["failed"] += 1
                self._input_error = str(error)
            except Exception as error:  # the node never dies of one frame
                if not rclpy.ok():
                    return
                self._counts["failed"] += 1
                said, self._analysis_error = (
                    self._analysis_error,
                    f"{type(error).__name__}: {error}",
                )
                if self._analysis_error != said:
                    self.get_logger().error(
                        f"a frame could not be analysed: {self._analysis_error}"
                    )

    def _process(self, frame: Frame) -> None:
        settings = self._settings
        header = frame.message.header
        if not settings.ros.enabled:
            self._counts["disabled"] += 1
            return
        stamp_ns = header.stamp.sec * NANOSECONDS + header.stamp.nanosec
        if stamp_ns == 0:
            # A driver that leaves the stamp empty would otherwise get one keyframe, ever.
            self._tell_once(f"images on {self._camera.topic} have no stamp; arrival time is used")
            stamp_ns = int(frame.received_s * NANOSECONDS)
        reason = self._keyframes.reason(stamp_ns, settings.keyframes)
        if not reason:
            self._counts["between_keyframes"] += 1
            return
        image = messages.picture(frame.message)
        self._input_error = ""
        keyframe = Keyframe(header, self._counts["analysed"] + 1, reason)
        self._analyzer.settings = settings
        scene = self._analyzer.analyze(
            image, on_region=lambda region: self._outputs.publish_region(region, keyframe)
        )
        self._latest = scene, keyframe
        self._counts["analysed"] += 1
        self._analysis_error = ""
        self._outputs.publish_scene(scene, image, keyframe, settings.output)

    def _tell_once(self, message: str) -> None:
        if message not in self._told:
            self._told.add(message)
            self.get_logger().warning(message)

    # -- callbacks ------------------------------------------------------------------------------

    def _on_settings(self, settings: Settings) -> None:
        self._settings = settings

    def _on_set_enabled(
        self, request: SetBool.Request, response: SetBool.Response
    ) -> SetBool.Response:
        # Through the parameter, so that `ros2 param get` and the service never disagree.
        results = self.set_parameters([Parameter("ros.enabled", value=request.data)])
        response.success = results[0].successful
        response.message = results[0].reason or ("enabled" if request.data else "disabled")
        return response

    def _on_get_scene(
        self, request: GetScene.Request, response: GetScene.Response
    ) -> GetScene.Response:
        if request.camera:
            response.message = f"there is no camera {request.camera!r}; leave the name empty"
            return response
        if self._latest is None:
            response.message = "no image has been analysed yet"
            if self._camera.received == 0:
                response.message += f"; {self._camera.explain_silence()}"
            return response
        scene, keyframe = self._latest
        response.scene = messages.to_regions(scene, keyframe)
        if not request.include_masks:
            for region in response.scene.regions:
                region.mask.counts = ""
        content = to_dict(scene, keyframe.header.frame_id, with_masks=False)
        response.json = json.dumps(content, ensure_ascii=False, separators=(",", ":"))
        response.success = True
        return response

    def _look_for_input(self) -> None:
        if self._camera.silent_s() > 2 * LOOK_FOR_INPUT_S or self._camera.received == 0:
            self._camera.find_input()

    # -- diagnostics ----------------------------------------------------------------------------

    def _publish_diagnostics(self) -> None:
        self._diagnostics.publish([self._input_status(), self._analysis_status()])

    def _input_status(self) -> DiagnosticStatus:
        camera, timeout = self._camera, self._settings.ros.input_timeout_s
        level, message = diagnostics.OK, "images arrive"
        if 0 < timeout < camera.silent_s():
            level = diagnostics.ERROR
            message = f"no image for {timeout:g} s: {camera.explain_silence()}"
        elif self._input_error:
            level, message = diagnostics.ERROR, f"{camera.topic}: {self._input_error}"
        elif camera.received == 0:
            message = "waiting for the first image"
        values = {
            "topic": camera.topic,
            "type": camera.type,
            "received": camera.received,
            "replaced_by_newer": camera.frames.replaced,
            "age_s": f"{camera.silent_s():.2f}",
            **{key: self._counts[key] for key in ("between_keyframes", "disabled", "failed")},
        }
        return self._diagnostics.status("input", level, message, values)

    def _analysis_status(self) -> DiagnosticStatus:
        values: dict[str, object] = {"keyframes": self._counts["analysed"]}
        level, message = diagnostics.OK, "nothing analysed yet"
        if not self._settings.ros.enabled:
            message = "disabled"
        elif self._latest is not None:
            scene, keyframe = self._latest
            message = f"{len(scene.regions)} regions"
            failed = [r for r in scene.regions if r.description.status == "failed"]
            values |= {
                "reason": keyframe.reason,
                "regions": len(scene.regions),
                "failed_descriptions": len(failed),
                "coverage": f"{scene.coverage:.3f}",
                "segmenter": scene.segmenter,
                **{key: f"{value:.3f}" for key, value in dataclasses.asdict(scene.timings).items()},
            }
            if failed:
                level = diagnostics.WARN
                message = f"{len(failed)} regions not described: {failed[0].description.error}"
        if self._analyzer.warnings:
            level, message = diagnostics.WARN, "; ".join(self._analyzer.warnings)
        if self._analysis_error:
            level, message = diagnostics.ERROR, self._analysis_error
        return self._diagnostics.status("analysis", level, message, values)


def run() -> int:
    """Spin the node until it is interrupted; 1 when it cannot start (said in one line)."""
    rclpy.init()
    try:
        node = AnalyzerNode()
    except (SettingsError, BackendUnavailable) as error:
        rclpy.logging.get_logger("analyzer").fatal(str(error))
        rclpy.try_shutdown()
        return 1
    try:
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    finally:
        # Ctrl-C in a terminal reaches the node twice, from the shell and from launch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        node.close()
        node.destroy_node()
        rclpy.try_shutdown()
    return 0
