"""How a server is asked: what a describer on top of ``ServerDescriber`` brings."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

from deep_perception.describers.server.answers import Answer
from deep_perception.images import BgrImage
from deep_perception.regions import Region


class Shown(Protocol):
    """What a server is to see of one region."""

    @property
    def pictures(self) -> Sequence[BgrImage]:
        """All of it, before it is encoded."""
        ...

    async def ask(self, model: str, give_up: Callable[[], bool]) -> Answer:
        """The words.

        Raises Transient (no answer, often enough), Unreachable, or anything else for a region that
        this server cannot describe. ``give_up``: whether asking once more makes no sense.
        """
        ...


class Asker(Protocol):
    """How a server is asked."""

    @property
    def prompt_id(self) -> str:
        """Which prompt is used: the same for the same text."""
        ...

    @property
    def shaped_by(self) -> Sequence[str]:
        """All that shapes the answers but the pictures and the model; it never changes."""
        ...

    @property
    def warnings(self) -> Sequence[str]:
        """What the server does not do as set."""
        ...

    def looking_at(self, image: BgrImage) -> Callable[[Region], Shown]:
        """How a region of this source image is shown."""
        ...
