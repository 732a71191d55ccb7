"""Segmenters: from a point to the mask of what is there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from deep_perception.images import BgrImage

REGISTRY = {
    "superpixels": "deep_perception.segmenters.superpixels:Superpixels",
    "sam2": "deep_perception.segmenters.sam2:Sam2",
    "sam2_official": "deep_perception.segmenters.sam2:Sam2Official",
}


class Segmenter(Protocol):
    """What a sweep needs of a backend.

    One that counts may have ``statistics``, a mapping of names to numbers, for the diagnostics.
    """

    name: str
    model: str
    """Its weights, empty when there are none."""
    chunk_size: int
    """How many points a sweep should ask for at once on this device."""

    def embed(self, image: BgrImage) -> Any:
        """The work that is done once for a picture (HxWx3 uint8 BGR, working size)."""
        ...

    def masks(
        self, embedding: Any, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Masks (P, H, W) and their predicted quality (P,) in 0..1, for P points (P, 2) x, y.

        A mask depends on its own point only, never on the others of the call.
        """
        ...

    def close(self) -> None:
        """Give memory and processes back."""
        ...


@runtime_checkable
class SupportsStatistics(Protocol):
    """A segmenter that counts what it does. ``isinstance`` recognises it by its member."""

    @property
    def statistics(self) -> Mapping[str, int]:
        """Counts since the start by name, for the diagnostics of the node.

        They are read in a thread of the node: it must be safe to read them from any thread.
        """
        ...
