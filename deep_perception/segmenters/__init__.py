"""Segmenters: backends that turn a point into the mask of the object at that point."""

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
    """The interface of a segmenter.

    A segmenter may also have ``statistics``, a mapping of names to numbers for the diagnostics.
    """

    name: str
    model: str
    """The name of its weights, empty if it has none."""
    chunk_size: int
    """The number of points that a sweep should pass to ``masks`` at once on this device."""

    def embed(self, image: BgrImage) -> Any:
        """Do the work that is needed once per image (HxWx3 uint8 BGR, working size)."""
        ...

    def masks(
        self, embedding: Any, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Masks (P, H, W) and their predicted quality (P,) in 0..1, for P points (P, 2) x, y.

        A mask depends on its own point only, never on the others of the call.
        """
        ...

    def close(self) -> None:
        """Free memory and stop processes."""
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
