"""What an answer becomes: a description, or the reason why it is none."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


class BadAnswer(Exception):
    """The server's answer is no description of the region; the message says what it is."""


class ErrorInAnswer(Exception):
    """The server answered with status 200 and an error in the body or in the text."""


@dataclass(frozen=True)
class Answer:
    """A description that passed the checks.

    ``truncated``: the text of the model was cut off, and this is the complete part of it.
    """

    label: str
    text: str
    attributes: Mapping[str, str] = field(default_factory=dict)
    model: str = ""
    truncated: bool = False
