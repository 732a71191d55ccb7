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
  cannot be deserialized, ends the executor and leaves the callback group of the node locked.

All five were looked up in rclpy 7.1.6 (Jazzy), 9.1.2 (Kilted) and 10.0.10 (Lyrical).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from deep_perception.ros.log import RareWarning
from deep_perception.untrusted.text import printable

# The rest after a callback that failed, so that one that fails always leaves time to the others.
FAULT_S = 0.001

RCLError: type[Exception] = rclpy_implementation.RCLError
InvalidHandle: type[Exception] = rclpy_implementation.InvalidHandle


def spin(node: Node, *, on_fault: Callable[[BaseException], None]) -> None:
    """Spin until the context ends. A callback that fails costs that call, and not the node.

    ``on_fault`` gets its exception, which may be a backend's SystemExit.
    """
    executor = PatientExecutor(on_fault)
    try:
        while rclpy.ok():
            try:
                rclpy.spin(node, executor)
            except ExternalShutdownException:
                raise
            except (Exception, SystemExit) as error:
                if not rclpy.ok():
                    raise
                on_fault(error)
                time.sleep(FAULT_S)
    finally:
        with suppress(RCLError):
            executor.shutdown(timeout_sec=0)


class PatientExecutor(SingleThreadedExecutor):
    """Leaves out what cannot be taken from the middleware: a peer may send any bytes."""

    def __init__(self, on_fault: Callable[[BaseException], None]) -> None:
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
    refused = RareWarning(node)

    def guarded(request: Any, response: Any) -> Any:
        asked = request.transition
        transitions = node._state_machine.available_transitions
        numbers, labels = {each[0] for each in transitions}, {each[1] for each in transitions}
        fits = asked.label in labels if asked.label else asked.id in numbers
        if fits and accepts_any:
            return change_state(request, response)
        refused.log(
            f"a service asked for the transition {printable(asked.label) or asked.id}, which "
            + (
                f"is not possible in the state {state_label(node)}"
                if accepts_any
                else "is refused: ros.remote_control is false"
            )
        )
        response.success = False
        return response

    node._service_change_state.callback = guarded
