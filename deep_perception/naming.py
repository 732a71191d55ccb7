"""Names of outputs: each of its own, whatever their sources are called."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from pathlib import Path


def one_name_each(wanted: Mapping[Path, str], taken: Collection[str] = ()) -> dict[Path, str]:
    """``cup`` of a/cup.png and ``cup`` of b/cup.jpg become ``cup`` and ``cup_2``.

    ``taken``: names that something else has.
    """
    names: dict[Path, str] = {}
    for path, stem in wanted.items():
        name, number = stem, 1
        while name in names.values() or name in taken:
            number += 1
            name = f"{stem}_{number}"
        names[path] = name
    return names
