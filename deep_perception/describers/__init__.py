"""Describers: from a region to words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Protocol

from deep_perception.images import Picture
from deep_perception.regions import Description, Region

REGISTRY = {
    "attributes": "deep_perception.describers.attributes:Attributes",
    "chat": "deep_perception.describers.chat:Chat",
}


class Describer(Protocol):
    """What an analysis needs of a backend.

    One whose state changes while it runs may have ``warnings``, a tuple of sentences: what is wrong
    now. Scenes and diagnostics show them.
    """

    name: str
    model: str

    def describe(
        self, image: Picture, regions: Sequence[Region]
    ) -> Iterator[tuple[Region, Description]]:
        """The words of regions of a source image (HxWx3 uint8 BGR), each as soon as it is ready.

        A region that cannot be described gets status ``failed`` and an ``error``; nothing is
        raised for one region.
        """
        ...

    def close(self) -> None:
        """Give memory, threads and connections back."""
        ...
