"""Recordings: their files, the choice of their frames, and the images of the chosen frames."""

NANOSECONDS = 1_000_000_000
"""Nanoseconds in a second."""
