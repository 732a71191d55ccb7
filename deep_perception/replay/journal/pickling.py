"""What is known of the cameras as bytes, and back, bit by bit: for a run that is gone on with."""

from __future__ import annotations

import importlib
import io
import pickle
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

# Modules whose classes are in a Stream and only hold values: bytes of somebody else's folder must
# not make anything that does something.
OURS = {
    f"deep_perception.{name}"
    for name in (
        "keyframes", "keyframes.changes", "masks", "points", "regions", "replay.recordings.choice",
        "replay.run", "settings", "stream", "tracking.appearance", "tracking.matching",
        "tracking.motion", "tracking.track", "tracking.tracker",
    )
}  # fmt: skip
OTHERS = {
    "builtins": {"set", "frozenset", "slice", "complex"},
    "collections": {"Counter", "OrderedDict", "defaultdict", "deque"},
    "numpy": {"dtype", "ndarray"},
    "numpy.core.multiarray": {"_reconstruct", "scalar"},
    "numpy._core.multiarray": {"_reconstruct", "scalar"},
    "numpy.core.numeric": {"_frombuffer"},
    "numpy._core.numeric": {"_frombuffer"},
}


class Unreadable(ValueError):
    """The bytes are not what ``freeze`` gives."""


def freeze(thing: object) -> bytes:
    """Bytes of objects of this package, numpy arrays and plain values."""
    raw = io.BytesIO()
    _Pickler(raw, protocol=5).dump(thing)
    # The masks of a scene are most of it, and shrink to nothing.
    return zlib.compress(raw.getvalue(), 1)


def thaw(data: bytes) -> Any:
    """The objects again. Raises Unreadable."""
    try:
        return _Unpickler(io.BytesIO(zlib.decompress(data))).load()
    except Exception as error:  # bytes of anything may raise anything
        raise Unreadable(f"{type(error).__name__}: {error}") from None


class _Pickler(pickle.Pickler):
    def reducer_override(self, thing: Any) -> Any:
        if isinstance(thing, np.ndarray) and thing.dtype == np.bool_:
            return unpack, (np.packbits(thing).tobytes(), thing.shape)
        return NotImplemented


def unpack(data: bytes, shape: tuple[int, ...]) -> NDArray[np.bool_]:
    """The booleans of which eight are in a byte."""
    bits = np.unpackbits(np.frombuffer(data, np.uint8), count=int(np.prod(shape)))
    return bits.reshape(shape).astype(np.bool_)


class _Unpickler(pickle.Unpickler):
    def find_class(self, module: str, name: str) -> Any:
        if name in OTHERS.get(module, ()):
            return super().find_class(module, name)
        if (module, name) == (__name__, unpack.__name__):
            return unpack
        if module in OURS:
            found = getattr(importlib.import_module(module), name, None)
            # Not what it imports from elsewhere.
            if isinstance(found, type) and found.__module__ == module:
                return found
        raise pickle.UnpicklingError(f"{module}.{name} has no business here")
