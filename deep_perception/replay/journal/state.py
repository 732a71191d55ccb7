"""The state file of a journal: how far the replay is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

SCHEMA = "deep_perception.replay/3"
OLD_SCHEMA = "deep_perception.replay/1"


class OldState(ValueError):
    """The file was written by an older version, of which ``outputs`` are known."""

    def __init__(self, outputs: Mapping[str, str]) -> None:
        super().__init__("it was written by an older version of deep_perception")
        self.outputs = outputs


@dataclass(frozen=True)
class State:
    """The progress of a replay.

    ``inputs`` and ``models`` must not change while it is resumed. ``length`` bytes of the scenes
    are valid, and ``resume_point`` is the pickled state behind them. ``outdated``: everything in
    the folder is to be replaced. ``counts`` cover all runs so far. ``outputs`` maps the name of an
    output to the options that shaped it.
    """

    inputs: Mapping[str, str]
    models: Mapping[str, str] = field(default_factory=dict)
    length: int = 0
    finished: bool = False
    outdated: bool = False
    counts: Mapping[str, Any] = field(default_factory=dict)
    outputs: Mapping[str, str] = field(default_factory=dict)
    resume_point: bytes = b""

    def to_bytes(self) -> bytes:
        """Return a line of JSON, followed by the resume point."""
        head = {item.name: getattr(self, item.name) for item in dataclasses.fields(self)}
        del head["resume_point"]
        return json.dumps({"schema": SCHEMA, **head}).encode() + b"\n" + self.resume_point

    @classmethod
    def from_bytes(cls, data: bytes) -> State:
        """Return the state. Raises OldState, ValueError, KeyError or TypeError."""
        head, _, resume_point = data.partition(b"\n")
        content = json.loads(head)
        schema = content.pop("schema")
        if schema == OLD_SCHEMA:
            raise OldState(dict(content["made"]))
        if schema != SCHEMA:
            raise ValueError("it was written by another version of deep_perception")
        return cls(**content, resume_point=resume_point)
