"""Names of outputs: each of its own, whatever their sources are called."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path


def one_name_each(wanted: Mapping[Path, str]) -> dict[Path, str]:
    """``cup`` of a/cup.png and ``cup`` of b/cup.jpg become ``cup`` and ``cup_2``."""
    names: dict[Path, str] = {}
    for path, stem in wanted.items():
        name, number = stem, 1
        while name in names.values():
            number += 1
            name = f"{stem}_{number}"
        names[path] = name
    return names
