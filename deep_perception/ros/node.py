"""The ``analyzer`` node: newest frame in, described scene out. A managed (lifecycle) node."""

from __future__ import annotations

import logging
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.clock import Clock, ClockType
from rclpy.executors import ExternalShutdownException
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode, LifecycleState, TransitionCallbackReturn

from deep_perception.analyzer import Analyzer
from deep_perception.ros import diagnostics, parameters
from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.ros.image_input import ImageInput, ReceivedFrame, camera_names
from deep_perception.ros.latest import Latest
from deep_perception.ros.logs import RosLog
from deep_perception.ros.memory import keep_freed_memory
from deep_perception.ros.publishers import Publishers
from deep_perception.ros.services import Services
from deep_perception.ros.sim_time import SimTime
from deep_perception.ros.worker import Worker
from deep_perception.settings import Settings
from deep_perception.settings.options import SettingsError

LOOK_FOR_INPUT_S = 0.5
SUCCESS, FAILURE = TransitionCallbackReturn.SUCCESS, TransitionCallbackReturn.FAILURE
# How long the end of the process waits for a frame that is still in the works, after the worker
# was told to stop: in all the process is gone within 3 s.
END_WITHIN_S = 0.5


class AnalyzerNode(LifecycleNode):
    """Callbacks store the newest frame; a worker thread analyses it and publishes.

    Configured: the models are loaded, the outputs are there. Active: the cameras are subscribed to.
    """

    def __init__(self, **node_arguments: Any) -> None:
        """Raises SettingsError when a parameter of this start is not allowed."""
        super().__init__("analyzer", **node_arguments)
        self._settings = parameters.declare(
            self, self._on_settings, configured=lambda: self._analyzer is not None
        )
        self._cameras = camera_names(self._settings.ros.cameras)
        self._core_log = RosLog(self.get_logger())
        core = logging.getLogger("deep_perception")
        core.addHandler(self._core_log)
        # What of it is shown is for the ROS logger to say (--log-level).
        core.setLevel(logging.DEBUG)
        self._diagnostics = diagnostics.Diagnostics(self)
        self._analyzer: Analyzer | None = None
        self._views: dict[str, CameraPipeline] = {}
        self._worker: Worker | None = None
        self._problem = ""
        self._survive_wrong_transitions()
        Services(self, self._views, lambda: self._problem, lambda: self._settings)
        self._sim_time = SimTime(self, self._on_time_went_back)
        # Wall time: a paused simulation must not stop the watch over the input.
        steady = Clock(clock_type=ClockType.STEADY_TIME)
        self.create_timer(LOOK_FOR_INPUT_S, self._look_for_input, clock=steady)
        self._diagnostics_timer = self.create_timer(
            self._settings.ros.diagnostics_period_s, self._publish_diagnostics, clock=steady
        )

    def start(self) -> None:
        """Configure and activate, if it is set so; what fails is logged and leaves it as it is."""
        if self._settings.ros.autostart and self.trigger_configure() == SUCCESS:
            self.trigger_activate()

    def close(self) -> None:
        """Stop the worker and give the models back, whatever the state."""
        self._end()
        if self._worker is not None:
            self._worker.wait(END_WITHIN_S)
        logging.getLogger("deep_perception").removeHandler(self._core_log)

    # -- life cycle -----------------------------------------------------------------------------

    def on_configure(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Load the models and create the outputs."""
        return self._attempt("configured", self._configure)

    def on_activate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Subscribe to the cameras and begin to analyse."""
        return self._attempt("activated", self._activate)

    def on_deactivate(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Give up the frame in hand and unsubscribe; the latest scenes stay."""
        return self._attempt("deactivated", self._stop)

    def on_cleanup(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Free the models' memory and remove the outputs."""
        return self._attempt("cleaned up", self._free)

    def on_shutdown(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Both of them."""
        return self._attempt("shut down", self._end)

    def on_error(self, state: LifecycleState) -> TransitionCallbackReturn:
        """Back to unconfigured."""
        return self.on_shutdown(state)

    def _attempt(self, done: str, act: Callable[[], object]) -> TransitionCallbackReturn:
        # rclpy would drop what is raised here without a word.
        try:
            act()
        except Exception as error:
            self._problem = f"cannot be {done}: {error}"
            if rclpy.ok():  # else the end has come, and everything fails
                self.get_logger().error(self._problem)
                self._diagnostics.logged(self._problem)
            return FAILURE
        self._problem = ""
        return SUCCESS

    def _configure(self) -> None:
        self._analyzer = Analyzer(self._settings)
        self._diagnostics.logged("; ".join(self._analyzer.models.warnings))
        try:
            for name in self._cameras:
                self._views[name] = CameraPipeline(
                    name=name,
                    publishers=Publishers(self, name),
                    warn=self._diagnostics.tell,
                    inform=lambda message: self.get_logger().info(message),
                )
        except Exception:
            self._free()
            raise

    def _activate(self) -> None:
        assert self._analyzer is not None
        frames: Latest[ReceivedFrame] = Latest()
        for view in self._views.values():
            view.connect(ImageInput(self, view.name, self._settings.ros, frames), frames)
        self._worker = Worker(
            pipelines=self._views,
            frames=frames,
            analyzer=self._analyzer,
            settings=lambda: self._settings,
            previous=self._worker,
        )
        topics = ", ".join(view.topic for view in self._views.values())
        self.get_logger().info(
            f"waiting for images on {topics}; publishing under {self.get_fully_qualified_name()}/"
        )

    def _stop(self) -> None:
        if self._worker is not None:
            self._worker.stop()
        for view in self._views.values():
            view.disconnect()

    def _free(self) -> None:
        for view in self._views.values():
            view.close()
        self._views.clear()
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

    def _survive_wrong_transitions(self) -> None:
        """rclpy raises out of the executor when a transition does not fit the state."""
        change = self._service_change_state.callback

        def guarded(request: Any, response: Any) -> Any:
            try:
                return change(request, response)
            except rclpy_implementation.RCLError as error:
                if not rclpy.ok():
                    raise
                self.get_logger().warning(f"no such change of state now: {error}")
                response.success = False
                return response

        self._service_change_state.callback = guarded

    # -- callbacks ------------------------------------------------------------------------------

    def _on_settings(self, settings: Settings) -> None:
        if settings.ros.diagnostics_period_s != self._settings.ros.diagnostics_period_s:
            self._diagnostics_timer.timer_period_ns = int(settings.ros.diagnostics_period_s * 1e9)
            self._diagnostics_timer.reset()
        self._settings = settings

    def _on_time_went_back(self, now_ns: int) -> None:
        for view in self._views.values():
            view.time_went_back(now_ns)

    def _look_for_input(self) -> None:
        self._sim_time.look()
        for view in self._views.values():
            camera = view.camera
            if camera and (camera.silent_s() > 2 * LOOK_FOR_INPUT_S or camera.received == 0):
                camera.find_input()

    def _publish_diagnostics(self) -> None:
        # A camera that is about to be found is not to be missed.
        self._look_for_input()
        self._diagnostics.publish(self._statuses())

    def _statuses(self) -> Iterator[diagnostics.Status]:
        state = self._state_machine.current_state[1]
        level = diagnostics.ERROR if self._problem else diagnostics.OK
        yield diagnostics.Status("state", level, self._problem or state, {"state": state})
        busy_s = self._worker.busy_s if self._worker else 0.0
        standstill = self._sim_time.standstill(self._settings.ros.input_timeout_s)
        for view in self._views.values():
            yield diagnostics.input_status(view, self._settings.ros, standstill)
            if self._analyzer is not None:
                yield diagnostics.analysis_status(view, self._analyzer, self._settings.ros, busy_s)


def run() -> int:
    """Spin the node until it is interrupted; 1 when it cannot start (said in one line)."""
    keep_freed_memory()
    rclpy.init()
    node: AnalyzerNode | None = None
    try:
        node = AnalyzerNode()
        node.start()
        # After a signal that came while models were loaded there is nothing left to spin in.
        if rclpy.ok():
            rclpy.spin(node)
    except (KeyboardInterrupt, ExternalShutdownException):
        pass
    except SettingsError as error:
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
            with suppress(rclpy_implementation.RCLError):
                node.destroy_node()
        rclpy.try_shutdown()
    return 0
