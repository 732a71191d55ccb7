"""The torch device that SAM2 runs on, its memory, and the errors of a missing installation."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from deep_perception.backends import BackendUnavailable

INSTALL = "python -m pip install torch==2.13.0 transformers==5.23.0"


@contextmanager
def needs(what: str) -> Iterator[None]:
    """Turn a failed import into BackendUnavailable with the command that installs the package."""
    try:
        yield
    except ImportError as error:
        raise BackendUnavailable(f"SAM2 needs {what} ({error}); run `{INSTALL}`") from error


def pick_device(name: str) -> Any:
    """The torch device of ``segmenter.device``. Raises BackendUnavailable."""
    with needs("torch"):
        import torch
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", name):
        raise BackendUnavailable(
            f"segmenter.device {name!r} is none of auto, cpu, cuda, cuda:<number>, mps"
        )
    mps = torch.backends.mps.is_available()
    cudas = torch.cuda.device_count() if torch.cuda.is_available() else 0
    if name == "auto":
        name = "cuda" if cudas else "mps" if mps else "cpu"
    device = torch.device(name)
    missing_cuda = device.type == "cuda" and (device.index or 0) >= cudas
    if missing_cuda or (device.type == "mps" and not mps):
        raise BackendUnavailable(
            f"segmenter.device {name!r} is not available (torch {torch.__version__}, CUDA devices: "
            f"{cudas}); set it to auto or cpu"
        )
    return device


def is_out_of_memory(error: Exception) -> bool:
    """Whether an error of torch means that the memory of the device is exhausted."""
    import torch

    # Only CUDA has an error class for this; MPS and the CPU raise RuntimeError with these messages.
    message = str(error).lower()
    return isinstance(error, torch.OutOfMemoryError) or (
        isinstance(error, RuntimeError)
        and ("out of memory" in message or "can't allocate memory" in message)
    )


def empty_cache(device: Any) -> None:
    """Give cached memory of torch back to the device."""
    import torch

    if device.type == "cuda":
        torch.cuda.empty_cache()
    elif device.type == "mps":
        torch.mps.empty_cache()


def memory_in_use(device: Any) -> int:
    """Bytes of the device's memory that the tensors of this process take; 0 on a CPU."""
    import torch

    if device.type == "cuda":
        return int(torch.cuda.memory_allocated(device))
    return int(torch.mps.current_allocated_memory()) if device.type == "mps" else 0
