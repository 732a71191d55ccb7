"""The ``analyzer`` node: newest frame in, described scene out."""

from __future__ import annotations

import dataclasses
import json
import logging
import signal
from typing import Any

import rclpy
from diagnostic_msgs.msg import DiagnosticStatus
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.node import Node
from rclpy.parameter import Parameter
from std_srvs.srv import SetBool

from deep_perception.analyzer import Analyzer
from deep_perception.backends import BackendUnavailable
from deep_perception.options import SettingsError
from deep_perception.ros import diagnostics, messages, parameters
from deep_perception.ros.cameras import Camera
from deep_perception.ros.logs import RosLog
from deep_perception.ros.memory import keep_freed_memory
from deep_perception.ros.outputs import Outputs
from deep_perception.ros.worker import Worker
from deep_perception.settings import Settings
from deep_perception_msgs.srv import GetScene

LOOK_FOR_INPUT_S = 0.5
# A frame that takes longer than this is worth a word in the diagnostics.
LONG_S = 30.0


class AnalyzerNode(Node):
    """Callbacks store the newest frame; a worker thread analyses it and publishes."""

    def __init__(self, **node_arguments: Any) -> None:
        """Raises SettingsError or BackendUnavailable when it cannot work as it was asked to."""
        super().__init__("analyzer", **node_arguments)
        self._settings = parameters.declare(self, self._on_settings)
        self._core_log = RosLog(self.get_logger())
        core = logging.getLogger("deep_perception")
        core.addHandler(self._core_log)
        # What of it is shown is for the ROS logger to say (--log-level).
        core.setLevel(logging.DEBUG)
        self._analyzer = Analyzer(self._settings)
        logged = ["; ".join(self._analyzer.warnings)]
        self._diagnostics = diagnostics.Diagnostics(self, logged=logged)
        self._camera = Camera(self, self._settings.ros)
        self._worker = Worker(
            camera=self._camera,
            outputs=Outputs(self),
            analyzer=self._analyzer,
            settings=lambda: self._settings,
            tell=self._diagnostics.tell,
            note=lambda message: self.get_logger().info(message),
        )
        self.create_service(SetBool, "~/set_enabled", self._on_set_enabled)
        self.create_service(GetScene, "~/get_scene", self._on_get_scene)
        # Wall time: a paused simulation must not stop the watch over the input.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_FOR_INPUT_S, self._look_for_input, clock=steady)
        period = self._settings.ros.diagnostics_period_s
        self.create_timer(period, self._publish_diagnostics, clock=steady)
        self.get_logger().info(
            f"waiting for images on {self._camera.topic}; publishing under "
            f"{self.get_fully_qualified_name()}/"
        )

    def close(self) -> None:
        """Stop the worker and give the models back."""
        self._worker.stop()
        logging.getLogger("deep_perception").removeHandler(self._core_log)

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
        latest = self._worker.latest
        if request.camera:
            response.message = f"there is no camera {request.camera!r}; leave the name empty"
        elif latest is None:
            response.message = "no image has been analysed yet"
            if self._camera.received == 0:
                response.message += f"; {self._camera.explain_silence()}"
        else:
            scene, keyframe = latest
            response.scene = messages.to_regions(scene, keyframe)
            if not request.include_masks:
                for region in response.scene.regions:
                    region.mask.counts = ""
            content = messages.to_json_dict(scene, keyframe)
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
        camera, worker = self._camera, self._worker
        timeout = self._settings.ros.input_timeout_s
        level, message = diagnostics.OK, "images arrive"
        if 0 < timeout < camera.silent_s():
            level = diagnostics.ERROR
            message = f"no image for {timeout:g} s: {camera.explain_silence()}"
        elif worker.input_error:
            level, message = diagnostics.ERROR, worker.input_error
        elif camera.received == 0:
            message = "waiting for the first image"
        values = {
            "topic": camera.topic,
            "type": camera.type,
            "received": camera.received,
            "replaced_by_newer": camera.frames.replaced,
            "age_s": f"{camera.silent_s():.2f}",
            **{key: worker.counts[key] for key in ("between_keyframes", "disabled", "failed")},
        }
        return self._diagnostics.status("input", level, message, values)

    def _analysis_status(self) -> DiagnosticStatus:
        worker = self._worker
        values: dict[str, object] = {
            "keyframes": worker.counts["analysed"],
            "busy_s": f"{worker.busy_s:.2f}",
        }
        level, message = diagnostics.OK, "nothing analysed yet"
        if not self._settings.ros.enabled:
            message = "disabled"
        elif worker.latest is not None:
            scene, keyframe = worker.latest
            message = f"{len(scene.regions)} regions"
            values |= {
                "reason": keyframe.reason,
                "regions": len(scene.regions),
                "failed_descriptions": sum(bool(r.description.error) for r in scene.regions),
                "coverage": f"{scene.coverage:.3f}",
                "segmenter": scene.segmenter,
                **{key: f"{value:.3f}" for key, value in dataclasses.asdict(scene.timings).items()},
            }
            if scene.undescribed:
                level, message = diagnostics.WARN, scene.undescribed
        if self._analyzer.warnings:
            level, message = diagnostics.WARN, "; ".join(self._analyzer.warnings)
        if worker.analysis_error:
            level, message = diagnostics.ERROR, worker.analysis_error
        if worker.busy_s > LONG_S:
            level = diagnostics.WARN
            message = f"one frame has been in the works for {worker.busy_s:.0f} s"
        return self._diagnostics.status("analysis", level, message, values)


def run() -> int:
    """Spin the node until it is interrupted; 1 when it cannot start (said in one line)."""
    keep_freed_memory()
    rclpy.init()
    node: AnalyzerNode | None = None
    try:
        node = AnalyzerNode()
        rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except (SettingsError, BackendUnavailable) as error:
        rclpy.logging.get_logger("analyzer").fatal(str(error))
        return 1
    except rclpy_implementation.RCLError:
        # A signal that comes while the node is made ends the context under its hands.
        if rclpy.ok():
            raise
    finally:
        # Ctrl-C in a terminal reaches the node twice, from the shell and from launch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            node.close()
            node.destroy_node()
        rclpy.try_shutdown()
    return 0
