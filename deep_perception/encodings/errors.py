"""The error of image messages."""

from __future__ import annotations


class EncodingError(ValueError):
    """An image message cannot be decoded; the text names the value and the supported ones."""
