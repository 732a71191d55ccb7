"""The version of the package, which modules of every level need."""

__version__ = "0.1.0"
