"""How far a replay got, as a file."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "deep_perception.replay/2"


@dataclass(frozen=True)
class State:
    """``frozen``: what the run needs to go on behind the first ``length`` bytes of the scenes.

    ``asked`` and ``models`` must not change meanwhile; ``counts`` are of all that was done so far;
    ``made``: outputs, and what shaped them. ``outdated``: all that is there is to be replaced.
    """

    asked: Mapping[str, str]
    models: Mapping[str, str] = field(default_factory=dict)
    length: int = 0
    finished: bool = False
    outdated: bool = False
    counts: Mapping[str, Any] = field(default_factory=dict)
    made: Mapping[str, str] = field(default_factory=dict)
    frozen: bytes = b""

    def to_bytes(self) -> bytes:
        """A line of JSON, then what is frozen."""
        head = {each.name: getattr(self, each.name) for each in dataclasses.fields(self)}
        del head["frozen"]
        return json.dumps({"schema": SCHEMA, **head}).encode() + b"\n" + self.frozen

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """Raises ValueError, KeyError or TypeError."""
        head, _, frozen = data.partition(b"\n")
        content = json.loads(head)
        if content.pop("schema") != SCHEMA:
            raise ValueError("it was written by another version")
        return cls(**content, frozen=frozen)
