"""Every part of a camera's view as a mask, a box and words."""

__version__ = "0.1.0"
