"""The ``analyzer`` node: a managed node that turns the newest frame into a described scene."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import rclpy
from rcl_interfaces.msg import SetParametersResult
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn
from rclpy.parameter import Parameter

from deep_perception.analyzer import Analyzer
from deep_perception.redaction.output import clean_line, scrub_uncaught
from deep_perception.ros import diagnostics, rclpy_internals
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.ros.image_input import ImageInput, camera_names
from deep_perception.ros.latest import Latest
from deep_perception.ros.log import Log
from deep_perception.ros.log_handler import RosLogHandler
from deep_perception.ros.memory import (
    RETURN_PERIOD_S,
    keep_freed_memory,
    keep_started_objects,
    return_freed_memory,
)
from deep_perception.ros.parameters import SettingsParameters
from deep_perception.ros.publishers import Publishers
from deep_perception.ros.received_frame import ReceivedFrame
from deep_perception.ros.scene_state import status_of, to_message
from deep_perception.ros.services import Services
from deep_perception.ros.sim_time import SimTime
from deep_perception.ros.state import NodeState
from deep_perception.ros.worker import Worker
from deep_perception.settings import Settings
from deep_perception.settings.options import SettingsError
from deep_perception.settings.secrets import register_secrets

_log = logging.getLogger(__name__)

CHECK_INPUT_PERIOD_S = 0.5
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
# At the end of the process, the time to wait for a frame that is still processed after the worker
# was stopped. The process ends within 3 s in all.
END_WITHIN_S = 0.5


class AnalyzerNode(LifecycleNode):
    """Callbacks store the newest frame; a worker thread analyses it and publishes.

    While the node is configured, the models are loaded and the publishers exist. While it is
    active, it subscribes to the cameras.
    """

    def __init__(self, **node_arguments: Any) -> None:
        """Raises SettingsError if a parameter that was given at the start is not allowed."""
        super().__init__("analyzer", **node_arguments)
        self._settings_parameters = SettingsParameters(
            node=self,
            on_change=self._on_settings,
            is_configured=lambda: self._analyzer is not None,
        )
        settings = self._settings_parameters.settings
        self._state = NodeState(settings=settings)
        self._cameras = camera_names(settings.ros.cameras)
        self._log_handler = RosLogHandler(super().get_logger())
        core_logger = logging.getLogger("deep_perception")
        core_logger.addHandler(self._log_handler)
        # The level of the ROS logger (--log-level) decides what is shown.
        core_logger.setLevel(logging.DEBUG)
        self._diagnostics = diagnostics.Diagnostics(self)
        self._analyzer: Analyzer | None = None
        self._worker: Worker | None = None
        rclpy_internals.refuse_wrong_transitions(self, accepts_any=settings.ros.remote_control)
        Services(node=self, state=self._state)
        self._sim_time = SimTime(node=self, on_jump_back=self._on_jump_back)
        # Timers use wall time: a paused simulation must not stop the watch over the input.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(CHECK_INPUT_PERIOD_S, self._check_input, clock=steady)
        self.create_timer(RETURN_PERIOD_S, return_freed_memory, clock=steady)
        self._diagnostics_timer = self.create_timer(
            settings.ros.diagnostics_period_s, self._publish_diagnostics, clock=steady
        )

    def get_logger(self) -> Log:
        """Return the log, also to the parts of rclpy that log for this node."""
        return Log(super().get_logger())

    def start(self) -> None:
        """Configure and activate, with ros.autostart; a failure is logged and ends the attempt."""
        if self._state.settings.ros.autostart and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Stop the worker and free the models, in any state."""
        self._end()
        if self._worker is not None:
            self._worker.wait(END_WITHIN_S)
        logging.getLogger("deep_perception").removeHandler(self._log_handler)

    def set_parameters_atomically(self, parameter_list: list[Parameter]) -> SetParametersResult:
        """Set all of them or none; unlike rclpy's own, a refusal says what to do instead."""
        if reason := self._settings_parameters.refusal(parameter_list):
            return SetParametersResult(successful=False, reason=reason)
        return super().set_parameters_atomically(parameter_list)

    def report(self, error: BaseException) -> None:
        """Report that a callback failed; repetitions are suppressed."""
        _log.debug("a callback failed", exc_info=error)
        self._diagnostics.error(f"a callback failed: {type(error).__name__}: {error}")

    # -- life cycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models and create the publishers."""
        return self._attempt("configured", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and start the worker."""
        return self._attempt("activated", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Stop the worker and unsubscribe; the latest scenes stay available."""
        return self._attempt("deactivated", self._stop)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the models and destroy the publishers."""
        return self._attempt("cleaned up", self._free)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Deactivate and clean up."""
        return self._attempt("shut down", self._end)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Return to the unconfigured state."""
        return self.on_shutdown(state)

    def _attempt(self, goal: str, transition: Callable[[], object]) -> TransitionCallbackReturn:
        # rclpy drops an exception of a transition without logging it.
        try:
            transition()
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # a backend's SystemExit is a failure like any other
            self._state.problem = clean_line(f"cannot be {goal}: {error}")
            if rclpy.ok():  # after a shutdown of the context every transition fails
                self.get_logger().error(self._state.problem)
                self._diagnostics.mark_as_logged(self._state.problem)
            return FAILURE
        self._state.problem = ""
        return SUCCESS

    def _configure(self) -> None:
        self._analyzer = Analyzer(self._state.settings)
        # The core has logged them.
        self._diagnostics.mark_as_logged("; ".join(self._analyzer.models.warnings))
        try:
            for name in self._cameras:
                self._state.pipelines[name] = CameraPipeline(
                    name=name,
                    publishers=Publishers(self, name),
                    warn=self._diagnostics.error,
                    inform=self.get_logger().info,
                )
                self._state.pipelines[name].on_state = self._publish_state
        except Exception:
            self._free()
            raise

    def _activate(self) -> None:
        assert self._analyzer is not None
        frames: Latest[ReceivedFrame] = Latest()
        pipelines = self._state.pipelines
        for name, pipeline in pipelines.items():
            image_input = ImageInput(
                node=self,
                name=name,
                settings=self._state.settings.ros,
                frames=frames,
                warn=self._diagnostics.warning,
            )
            pipeline.connect(image_input, frames)
        self._worker = Worker(
            pipelines=pipelines,
            frames=frames,
            analyzer=self._analyzer,
            settings=lambda: self._state.settings,
            previous=self._worker,
        )
        topics = ", ".join(pipeline.topic for pipeline in pipelines.values())
        self.get_logger().info(
            f"waiting for images on {topics}; publishing under {self.get_fully_qualified_name()}/"
        )

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        for pipeline in self._state.pipelines.values():
            pipeline.disconnect()

    def _free(self) -> None:
        for pipeline in self._state.pipelines.values():
            pipeline.close()
        self._state.pipelines.clear()
        analyzer, self._analyzer = self._analyzer, None
        if analyzer is None:
            return
        if self._worker is not None:
            self._worker.call_at_end(analyzer.close)
        else:
            analyzer.close()

    def _end(self) -> None:
        self._stop()
        self._free()

    # -- callbacks ------------------------------------------------------------------------------

    def _on_settings(self, settings: Settings) -> None:
        period_s = settings.ros.diagnostics_period_s
        if period_s != self._state.settings.ros.diagnostics_period_s:
            self._diagnostics_timer.timer_period_ns = int(period_s * 1e9)
            self._diagnostics_timer.reset()
        self._state.settings = settings

    def _on_jump_back(self, now_ns: int) -> None:
        for pipeline in self._state.pipelines.values():
            pipeline.time_went_back(now_ns)

    def _check_input(self) -> None:
        self._sim_time.update()
        for pipeline in self._state.pipelines.values():
            if pipeline.camera is not None:
                pipeline.camera.watch()
            pipeline.compare_view(self._state.settings, at_most_every_s=CHECK_INPUT_PERIOD_S)
            self._publish_state(pipeline)

    def _publish_state(self, pipeline: CameraPipeline) -> None:
        status = status_of(pipeline, is_enabled=self._state.settings.ros.enabled)
        now_ns = self.get_clock().now().nanoseconds
        pipeline.publish_state(to_message(status, pipeline.name, pipeline.latest, now_ns))

    def _publish_diagnostics(self) -> None:
        # A camera that can be found now is not reported as missing.
        self._check_input()
        self._diagnostics.publish(self._statuses())

    def _statuses(self) -> Iterator[diagnostics.Status]:
        label, problem = rclpy_internals.state_label(self), self._state.problem
        level = diagnostics.ERROR if problem else diagnostics.OK
        if not problem and (problem := diagnostics.namesake(self)):
            level = diagnostics.WARN
        yield diagnostics.Status("state", level, problem or label, {"state": label})
        settings = self._state.settings.ros
        busy_s = self._worker.busy_s if self._worker else 0.0
        standstill = self._sim_time.standstill(settings.input_timeout_s)
        for pipeline in self._state.pipelines.values():
            yield diagnostics.input_status(pipeline, settings, standstill)
            if self._analyzer is not None:
                yield diagnostics.analysis_status(pipeline, self._analyzer, settings, busy_s)


def run() -> int:
    """Spin the node until it is interrupted; returns 1 if it cannot start, which is logged."""
    keep_freed_memory()
    scrub_uncaught()
    register_secrets()
    rclpy.init()
    node: AnalyzerNode | None = None
    try:
        node = AnalyzerNode()
        node.start()
        keep_started_objects()
        # A signal during the start has ended the context, and spinning would raise.
        if rclpy.ok():
            rclpy_internals.spin(node, on_fault=node.report)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except SettingsError as error:
        Log(name="analyzer").fatal(error)
        return 1
    except rclpy_internals.RCLError:
        # A signal may end the context while the node is constructed.
        if rclpy.ok():
            raise
    finally:
        # Ctrl-C in a terminal reaches the node twice: from the shell and from launch.
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if node is not None:
            node.close()
            with suppress(rclpy_internals.RCLError):
                node.destroy_node()
        rclpy.try_shutdown()
    return 0
