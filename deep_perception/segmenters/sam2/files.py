"""Where a checkpoint of SAM2 lies on this disk."""

from __future__ import annotations

import re
from pathlib import Path

from deep_perception.backends import BackendUnavailable
from deep_perception.checkpoints.catalog import fetch_command

WEIGHT_FILES = ("model.safetensors", "model.safetensors.index.json", "pytorch_model.bin")
OFFICIAL_SUFFIXES = (".pt", ".pth")


def find(checkpoint: str) -> Path | None:
    """The folder or file of a checkpoint; None when it is a hub id. Raises BackendUnavailable.

    Where a ``.pt`` is missing, the folder that ``deep_perception models fetch`` makes for that
    size is taken; a hub id is looked for in ``checkpoints/`` first.
    """
    command = fetch_command(checkpoint)
    path = Path(checkpoint).expanduser()
    fetched = command.split()[-1]
    looked = [path, path.parent / fetched] if path.suffix in OFFICIAL_SUFFIXES else [path]
    if _is_hub_id(checkpoint):
        looked = [Path("checkpoints") / path.name]
    for each in looked:
        if each.suffix == ".safetensors" and each.is_file():
            return each.parent
        if each.is_file() or any((each / name).exists() for name in WEIGHT_FILES):
            return each
    if _is_hub_id(checkpoint):
        return None
    places = " and ".join(str(each.absolute()) for each in looked)
    raise BackendUnavailable(
        f"SAM2 has no checkpoint: nothing at {places}; run `{command}` or set segmenter.checkpoint"
    )


def _is_hub_id(checkpoint: str) -> bool:
    """Like ``facebook/sam2.1-hiera-tiny``; a path with a known first folder is none."""
    if not re.fullmatch(r"[\w-][\w.-]*/[\w.-]+", checkpoint):
        return False
    path = Path(checkpoint)
    local = path.parts[0] == "checkpoints" or path.exists() or Path(path.parts[0]).is_dir()
    return not local and path.suffix not in (*OFFICIAL_SUFFIXES, ".safetensors")
