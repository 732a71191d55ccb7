"""Stamps of frames: whole nanoseconds, as a ``builtin_interfaces/Time`` of ROS holds them."""

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second."""
