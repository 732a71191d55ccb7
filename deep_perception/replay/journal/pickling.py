"""A pickle format for the state of a replay that loads nothing but plain values.

The bytes come from a folder that somebody else may have written, so only listed classes are loaded.
"""

from __future__ import annotations

import importlib
import io
import pickle
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from deep_perception import (
    encodings,
    keyframes,
    masks,
    points,
    regions,
    settings,
    stamps,
    stream,
)
from deep_perception.images import intensity
from deep_perception.keyframes import changes
from deep_perception.replay import resume_point
from deep_perception.replay.recordings import choice
from deep_perception.tracking import appearance, matching, motion, track, tracker

# All classes of these modules are allowed: they only hold values.
OWN_MODULES = {
    module.__name__
    for module in (
        appearance, changes, choice, encodings, intensity, keyframes, masks, matching, motion,
        points, regions, resume_point, settings, stamps, stream, track, tracker,
    )
}  # fmt: skip
OTHER_CLASSES = {
    "builtins": {"set", "frozenset", "slice", "complex"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}


class UnreadablePickle(ValueError):
    """The bytes do not come from ``dumps``, or contain a class that is not allowed."""


def dumps(value: object) -> bytes:
    """Return the bytes of objects of this package, numpy arrays and plain values."""
    raw = io.BytesIO()
    _Pickler(raw, protocol=5).dump(value)
    # Level 1 is enough: most of the bytes are masks, which compress to almost nothing.
    return zlib.compress(raw.getvalue(), 1)


def loads(data: bytes) -> Any:
    """Return the objects of ``dumps``. Raises UnreadablePickle."""
    try:
        return _Unpickler(io.BytesIO(zlib.decompress(data))).load()
    except Exception as error:  # arbitrary bytes may raise anything
        raise UnreadablePickle(f"{type(error).__name__}: {error}") from None


class _Pickler(pickle.Pickler):
    def reducer_override(self, value: Any) -> Any:
        if isinstance(value, np.ndarray) and value.dtype == np.bool_:
            return unpack_bits, (np.packbits(value).tobytes(), value.shape)
        return NotImplemented


def unpack_bits(data: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return the boolean array whose values are packed eight to a byte."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(shape)))
    return bits.reshape(shape).astype(np.bool_)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in OTHER_CLASSES.get(module, ()):
            return super().find_class(module, name)
        if (module, name) == (__name__, unpack_bits.__name__):
            return unpack_bits
        if module in OWN_MODULES:
            found = getattr(importlib.import_module(module), name, None)
            # A class that the module only imports from elsewhere is not allowed.
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} is not allowed in a journal")
