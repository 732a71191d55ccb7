"""Simulated time: when it stands still, and when it is set back."""

from __future__ import annotations

import time
from collections.abc import Callable

from rclpy.clock import JumpThreshold, TimeJump
from rclpy.duration import Duration
from rclpy.node import Node

from deep_perception.keyframes import OVERTAKING_NS


class SimTime:
    """Watches the clock of a node with ``use_sim_time``; of another one there is nothing to say."""

    def __init__(self, node: Node, went_back: Callable[[int], None]) -> None:
        """``went_back`` gets the new time in nanoseconds, in the executor's thread."""
        self._clock = node.get_clock()
        self._node = node
        self._went_back = went_back
        self._now_ns = 0
        self._moved_s = time.monotonic()
        back = Duration(nanoseconds=-OVERTAKING_NS)
        # Kept: the clock forgets a handle that nobody holds.
        self._jumps = self._clock.create_jump_callback(
            JumpThreshold(min_forward=None, min_backward=back, on_clock_change=False),
            post_callback=self._on_jump,
        )

    def look(self) -> None:
        """Meant to be called now and then."""
        now_ns = self._clock.now().nanoseconds
        if now_ns != self._now_ns or not self._clock.ros_time_is_active:
            self._now_ns, self._moved_s = now_ns, time.monotonic()

    def standstill(self, timeout_s: float) -> str:
        """Why it has stood still for longer than that, "" while it goes on."""
        if time.monotonic() - self._moved_s < timeout_s:
            return ""
        if self._node.count_publishers("/clock"):
            return "simulated time stands still (use_sim_time); /clock is paused"
        return "simulated time stands still (use_sim_time); nobody publishes /clock"

    def _on_jump(self, jump: TimeJump) -> None:
        self._went_back(self._clock.now().nanoseconds)
