"""Describers: from a region to words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Protocol

from deep_perception.images import BgrImage
from deep_perception.regions import Description, Region

REGISTRY = {
    "attributes": "deep_perception.describers.attributes:Attributes",
    "chat": "deep_perception.describers.chat:Chat",
    "dam": "deep_perception.describers.dam:Dam",
}


class Describer(Protocol):
    """What an analysis needs of a backend.

    One whose state changes while it runs may have ``warnings``, a tuple of sentences: what is wrong
    now. Scenes and diagnostics show them. One that counts may have ``statistics``, a mapping of
    names to numbers, for the diagnostics.
    """

    name: str
    model: str

    def describe(
        self, image: BgrImage, regions: Iterable[Region]
    ) -> Iterator[tuple[Region, Description] | None]:
        """The words of regions of a source image (HxWx3 uint8 BGR), each as soon as it is ready.

        The sweep may still be running: iterating over ``regions`` gives the largest that waits, or
        waits for the next one. A region that cannot be described gets status ``failed`` and an
        ``error``; nothing is raised for one region. A describer that waits for something yields
        None now and then: only then can it be told, by closing the iterator, to stop.
        """
        ...

    def close(self) -> None:
        """Give memory, threads and connections back."""
        ...
