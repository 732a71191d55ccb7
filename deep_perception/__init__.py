"""Every part of a robot's view as a mask, a bounding box and a description.

The public API: everything in ``__all__``. Its parts are imported when they are first used, so that
``import deep_perception`` costs nothing and needs no dependency.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from deep_perception._version import __version__ as __version__

if TYPE_CHECKING:
    from deep_perception.analyzer import Analyzer, Callbacks
    from deep_perception.images import load
    from deep_perception.regions import Description, Region, Scene
    from deep_perception.settings import Settings

__all__ = ["Analyzer", "Callbacks", "Description", "Region", "Scene", "Settings", "load"]

_MODULES = {
    "Analyzer": "analyzer",
    "Callbacks": "analyzer",
    "Description": "regions",
    "Region": "regions",
    "Scene": "regions",
    "Settings": "settings",
    "load": "images",
}


def __getattr__(name: str) -> Any:
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_MODULES[name]}"), name)


def __dir__() -> list[str]:
    return [*globals(), *__all__]
