"""Where a checkpoint of SAM2 is on the disk."""

from __future__ import annotations

import re
from pathlib import Path

from deep_perception.backends import BackendUnavailable
from deep_perception.checkpoints.catalog import fetch_command

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json")
# It can run code. Whoever has one can save the model again, as transformers does it now.
PICKLE = "pytorch_model.bin"
OFFICIAL_SUFFIXES = (".pt", ".pth")


def find(checkpoint: str) -> Path | None:
    """The folder or file of a checkpoint; None if it is a hub id. Raises BackendUnavailable.

    If a ``.pt`` file is missing, the folder that ``deep_perception models fetch`` makes for the
    same size is used. A hub id is searched in ``checkpoints/`` first.
    """
    command = fetch_command(checkpoint)
    path = Path(checkpoint).expanduser()
    fetched = command.split()[-1]
    candidates = [path, path.parent / fetched] if path.suffix in OFFICIAL_SUFFIXES else [path]
    if _is_hub_id(checkpoint):
        candidates = [Path("checkpoints") / path.name]
    for candidate in candidates:
        if candidate.suffix == ".safetensors" and candidate.is_file():
            return candidate.parent
        if candidate.is_file() or any((candidate / name).exists() for name in WEIGHT_FILES):
            return candidate
    if _is_hub_id(checkpoint):
        return None
    for candidate in candidates:
        if (candidate / PICKLE).exists():
            raise BackendUnavailable(
                f"SAM2 reads no {PICKLE}, which may contain code, and {candidate.absolute()} has "
                f"no model.safetensors; run `{command}` or set segmenter.checkpoint"
            )
    paths = " and ".join(str(candidate.absolute()) for candidate in candidates)
    raise BackendUnavailable(
        f"SAM2 has no checkpoint: nothing at {paths}; run `{command}` or set segmenter.checkpoint"
    )


def _is_hub_id(checkpoint: str) -> bool:
    """Whether it is like ``facebook/sam2.1-hiera-tiny`` and its first part is no local folder."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", checkpoint):
        return False
    path = Path(checkpoint)
    local = path.parts[0] == "checkpoints" or path.exists() or Path(path.parts[0]).is_dir()
    return not local and path.suffix not in (*OFFICIAL_SUFFIXES, ".safetensors")
