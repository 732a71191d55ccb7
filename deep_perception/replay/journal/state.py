"""The state file of a journal: how far the replay is."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from deep_perception.untrusted.json_reader import read_json

SCHEMA = "deep_perception.replay/4"
# The names of the outputs in the files of older versions, whose resume points were pickles.
OLD_SCHEMAS = {"deep_perception.replay/1": "made", "deep_perception.replay/3": "outputs"}
# Bytes of the first line: it names each file and each topic of a recording.
HEAD_LIMIT = 1 << 24
# What a file system and an .mcap file can hold.
MAX_LENGTH = 2**63


class OldState(ValueError):
    """The file was written by an older version, of which ``outputs`` are known."""

    def __init__(self, outputs: Mapping[str, str]) -> None:
        super().__init__("it was written by an older version of deep_perception")
        self.outputs = outputs


@dataclass(frozen=True)
class State:
    """The progress of a replay.

    ``inputs`` and ``models`` must not change while it is resumed. ``length`` bytes of the scenes
    are valid, and ``resume_point`` are the bytes of the state behind them. ``outdated``: everything
    in the folder is to be replaced. ``counts`` cover all runs so far. ``outputs`` maps the name of
    an output to the options that shaped it.
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
        """Return the state. Raises OldState and ValueError."""
        end = data.find(b"\n", 0, HEAD_LIMIT + 1)
        if end < 0:
            raise ValueError("its saved state has no first line")
        content = read_json(data[:end], limit=HEAD_LIMIT)
        schema = content.get("schema") if isinstance(content, dict) else None
        if isinstance(schema, str) and schema in OLD_SCHEMAS:
            raise OldState(_texts(content, OLD_SCHEMAS[schema]))
        if schema != SCHEMA:
            raise ValueError("it was written by another version of deep_perception")
        length, counts = content.get("length"), content.get("counts")
        if type(length) is not int or not 0 <= length < MAX_LENGTH or not isinstance(counts, dict):
            raise ValueError("its saved state is unusable: no length or no counts")
        return cls(
            inputs=_texts(content, "inputs"),
            models=_texts(content, "models"),
            length=length,
            finished=content.get("finished") is True,
            outdated=content.get("outdated") is True,
            counts=counts,
            outputs=_texts(content, "outputs"),
            resume_point=data[end + 1 :],
        )


def _texts(content: Mapping[str, Any], name: str) -> dict[str, str]:
    texts = content.get(name)
    if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
        raise ValueError(f"its saved state is unusable: {name} are no texts")
    return texts
