"""Unique names of outputs, also for sources with equal names."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path


def unique_names(wanted: Mapping[Path, str], taken: Collection[str] = ()) -> dict[Path, str]:
    """Number equal names: ``cup`` of a/cup.png and of b/cup.jpg become ``cup`` and ``cup_2``.

    ``taken`` are names that are already in use.
    """
    names: dict[Path, str] = {}
    used = set(taken)
    # The last number of each name: counting from 1 for each of many equal names takes forever.
    numbers: dict[str, int] = {}
    for path, stem in wanted.items():
        name, number = stem, numbers.get(stem, 1)
        while name in used:
            number += 1
            name = f"{stem}_{number}"
        numbers[stem] = number
        used.add(name)
        names[path] = name
    return names
