"""All uses of rclpy's private parts, for which rclpy has no public interface.

- ``RCLError``: what rclpy raises when the middleware refuses a call, as after a signal has ended
  the context. Only ``rclpy.impl`` exports it, and ``InvalidHandle``, which a destroyed publisher
  raises.
- ``Node._parameter_overrides``: the parameters that were given at the start. Declaring one of the
  wrong type raises an exception without the value, and a misspelt one is never declared.
- ``LifecycleNode._state_machine``: the state that the node is in, and the transitions from it.
- ``LifecycleNode._service_change_state``: until rclpy 7, a transition that does not fit the state
  raises RCLError out of the executor and so ends the node. rclpy 8 and later log it themselves.
- ``Executor._take_…``: what takes a message from the middleware. One that raises, for bytes that
  cannot be deserialized, leaves the callback group of the node locked for ever.
- ``rcutils_logger._internal_callers``: files that are not the place of a line of the log.

The first four were looked up in rclpy 7.1.6 (Jazzy), 9.1.2 (Kilted) and 10.0.10 (Lyrical), the last
two in 7.1.6 and 9.1.2; where they are missing, they have no effect.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import rclpy
from rclpy.executors import SingleThreadedExecutor
from rclpy.impl import rcutils_logger
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from deep_perception.untrusted.text import printable

# A peer can ask for a wrong transition as often as it likes.
WARN_EVERY_S = 10.0

RCLError: type[Exception] = rclpy_implementation.RCLError
InvalidHandle: type[Exception] = rclpy_implementation.InvalidHandle


class PatientExecutor(SingleThreadedExecutor):
    """Leaves out what cannot be taken from the middleware: a peer may send any bytes."""

    def __init__(self, on_fault: Callable[[Exception], None]) -> None:
        """``on_fault`` gets the exception, in the thread that spins."""
        super().__init__()
        self._on_fault = on_fault

    def _take_subscription(self, sub: Any) -> Any:
        return self._taken(super()._take_subscription, sub)

    def _take_client(self, client: Any) -> Any:
        return self._taken(super()._take_client, client)

    def _take_service(self, srv: Any) -> Any:
        return self._taken(super()._take_service, srv)

    def _taken(self, take: Callable[[Any], Any], entity: Any) -> Any:
        try:
            return take(entity)
        except Exception as error:  # rclpy does not say which
            if rclpy.ok():
                self._on_fault(error)
            return None


def log_for_callers_of(file: str) -> None:
    """Let a line that is logged in this file have the place of the call of it.

    A throttled line is known by its place, too.
    """
    callers = getattr(rcutils_logger, "_internal_callers", None)
    if callers is not None:
        callers.append(str(Path(file).resolve()))


def given_parameters(node: Node) -> Mapping[str, Any]:
    """The values of the parameters that were given at the start, declared or not."""
    return {name: parameter.value for name, parameter in node._parameter_overrides.items()}


def state_label(node: LifecycleNode) -> str:
    """The label of the node's state, as ``ros2 lifecycle get`` shows it."""
    return str(node._state_machine.current_state[1])


def refuse_wrong_transitions(node: LifecycleNode, *, accepts_any: bool) -> None:
    """Answer a transition that does not fit the state with a refusal instead of an exception.

    rcl would log each of them, with the whole label of the request. Unless ``accepts_any``, every
    transition that a service asks for is refused.
    """
    change_state = node._service_change_state.callback

    def guarded(request: Any, response: Any) -> Any:
        asked = request.transition
        transitions = node._state_machine.available_transitions
        numbers, labels = {each[0] for each in transitions}, {each[1] for each in transitions}
        fits = asked.label in labels if asked.label else asked.id in numbers
        if fits and accepts_any:
            return change_state(request, response)
        node.get_logger().warning(
            f"a service asked for the transition {printable(asked.label) or asked.id}, which is "
            + (
                f"not possible in the state {state_label(node)}"
                if accepts_any
                else "refused: ros.remote_control is false"
            ),
            throttle_duration_sec=WARN_EVERY_S,
        )
        response.success = False
        return response

    node._service_change_state.callback = guarded
