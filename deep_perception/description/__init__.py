"""From the regions of a sweep to their descriptions: in step with it (``run``) or live (``live``).

Both know the same rules: which regions a describer should describe, and in which order.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Protocol

from deep_perception.regions import Region


def regions_to_describe(regions: Iterable[Region], describer: str, limit: int) -> list[Region]:
    """Return the regions that a describer should describe: pending ones, the largest first.

    They are followed by the largest ``limit`` regions that another describer (the fallback)
    described.
    """
    largest_first = sorted(regions, key=lambda region: (-region.area, region.index))
    pending = [r for r in largest_first if r.description.status == "pending"]
    by_others = [r for r in largest_first if r.description.describer not in ("", describer)]
    return [*pending, *[r for r in by_others if r.description.status != "failed"][:limit]]


class RegionHistory(Protocol):
    """What is known of the regions of an image from earlier images."""

    def may_reuse(self, region: Region) -> bool:
        """Return False if no earlier description can hold for the region."""
        ...

    def finish(self, regions: Sequence[Region]) -> list[Region]:
        """Return the regions of a complete sweep with track ids and reused descriptions."""
        ...

    def described(self, region: Region) -> Region:
        """Remember a new description of a region, and return the region as its track knows it."""
        ...
