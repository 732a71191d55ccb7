"""The node's executor, which no single call of a callback can end."""

from __future__ import annotations

from collections.abc import Callable

import rclpy
from rclpy.executors import ExternalShutdownException, SingleThreadedExecutor
from rclpy.node import Node

# So many faults without a callback that succeeds are no fault of a request: the executor itself
# has failed. Its timers alone succeed twice a second.
MOST_FAULTS = 10_000


def spin(node: Node, on_fault: Callable[[BaseException], None]) -> None:
    """Spin until the context ends.

    An exception in a callback, which ``rclpy.spin`` would raise, costs that call only: a request
    with a parameter of an unknown type makes rclpy's own services raise ValueError. So does a
    SystemExit, which may come from a backend. Raises
    KeyboardInterrupt and ExternalShutdownException, as ``rclpy.spin`` does.
    """
    executor = SingleThreadedExecutor()
    executor.add_node(node)
    faults = 0
    try:
        while rclpy.ok():
            try:
                executor.spin_once()
                faults = 0
            except ExternalShutdownException:
                raise
            except (Exception, SystemExit) as error:
                faults += 1
                if not rclpy.ok() or faults > MOST_FAULTS:
                    raise
                on_fault(error)
    finally:
        executor.remove_node(node)
