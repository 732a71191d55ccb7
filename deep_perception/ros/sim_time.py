"""Simulated time: detect that it stands still or is set back."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

from deep_perception.stamps import OVERTAKING_NS


class SimTime:
    """Watch the clock of a node. Without ``use_sim_time`` it never stands still or goes back."""

    def __init__(self, *, node: Node, on_jump_back: Callable[[int], None]) -> None:
        """``on_jump_back`` gets the new time in nanoseconds, in the executor's thread."""
        self._clock = node.get_clock()
        self._node = node
        self._on_jump_back = on_jump_back
        self._now_ns = 0
        self._moved_s = time.monotonic()
        back = Duration(nanoseconds=-OVERTAKING_NS)
        # The clock keeps only a weak reference to the handle, so it is kept here.
        self._jumps = self._clock.create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=back, on_clock_change=False),
            post_callback=self._on_jump,
        )

    def update(self) -> None:
        """Compare the time with the last call's; to be called a few times a second."""
        now_ns = self._clock.now().nanoseconds
        if now_ns != self._now_ns or not self._clock.ros_time_is_active:
            self._now_ns, self._moved_s = now_ns, time.monotonic()

    def standstill(self, timeout_s: float) -> str:
        """Why the time has not changed for longer than the timeout; "" if it has."""
        if time.monotonic() - self._moved_s < timeout_s:
            return ""
        if self._node.count_publishers("/clock"):
            return "simulated time stands still (use_sim_time); /clock is paused"
        return "simulated time stands still (use_sim_time); /clock has no publisher"

    def _on_jump(self, jump: TimeJump) -> None:
        self._on_jump_back(self._clock.now().nanoseconds)
