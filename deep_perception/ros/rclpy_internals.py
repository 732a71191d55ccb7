"""All uses of rclpy's private parts, for which rclpy has no public interface.

- ``RCLError``: what rclpy raises when the middleware refuses a call, as after a signal has ended
  the context. Only ``rclpy.impl`` exports it, and ``InvalidHandle``, which a destroyed publisher
  raises.
- ``Node._parameter_overrides``: the parameters that were given at the start. Declaring one of the
  wrong type raises an exception without the value, and a misspelt one is never declared.
- ``LifecycleNode._state_machine``: the state that the node is in.
- ``LifecycleNode._service_change_state``: until rclpy 7, a transition that does not fit the state
  raises RCLError out of the executor and so ends the node. rclpy 8 and later log it themselves.

All four were looked up in rclpy 7.1.6 (Jazzy), 9.1.2 (Kilted) and 10.0.10 (Lyrical).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import rclpy
from rclpy.impl.implementation_singleton import rclpy_implementation
from rclpy.lifecycle import LifecycleNode
from rclpy.node import Node

from deep_perception.untrusted.text import printable

# Of a transition of the life cycle; a request that has none gives a number.
LABEL = re.compile(r"[a-z_]{0,40}")
RCLError: type[Exception] = rclpy_implementation.RCLError
InvalidHandle: type[Exception] = rclpy_implementation.InvalidHandle


def given_parameters(node: Node) -> Mapping[str, Any]:
    """The values of the parameters that were given at the start, declared or not."""
    return {name: parameter.value for name, parameter in node._parameter_overrides.items()}


def state_label(node: LifecycleNode) -> str:
    """The label of the node's state, as ``ros2 lifecycle get`` shows it."""
    return str(node._state_machine.current_state[1])


def refuse_wrong_transitions(node: LifecycleNode) -> None:
    """Answer a transition that does not fit the state with a refusal instead of an exception."""
    change_state = node._service_change_state.callback

    def guarded(request: Any, response: Any) -> Any:
        label = request.transition.label
        if not LABEL.fullmatch(label):  # rcl would log it as it is
            node.get_logger().warning(f"there is no transition '{printable(label)}'")
            response.success = False
            return response
        try:
            return change_state(request, response)
        except RCLError as error:
            if not rclpy.ok():
                raise
            node.get_logger().warning(f"the transition is not possible in this state: {error}")
            response.success = False
            return response

    node._service_change_state.callback = guarded
