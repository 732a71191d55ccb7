"""What a checkpoint of SAM2 from elsewhere may contain, checked before a library reads it.

A configuration of transformers can name code to be downloaded and run, and sizes without a limit; a
``.pt`` file is a pickle. Files of safetensors have numbers only.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch

from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.bounded import read_file
from deep_perception.untrusted.json_reader import read_json
from deep_perception.untrusted.model_files import check_safetensors, check_torch
from deep_perception.untrusted.text import printable

WEIGHTS, INDEX = "model.safetensors", "model.safetensors.index.json"
# In the first version, nothing that a file contains can be run or written into foreign memory:
# CVE-2025-32434 (2.6) and CVE-2026-24747 (2.10).
OLDEST_TORCH = (2, 10)
# Meta's configurations have 6 kB, an index 100 kB.
_CONFIG_LIMIT, _INDEX_LIMIT = 1 << 18, 1 << 22
_MAX_SIZE, _MAX_LAYERS, _MAX_LIST, _MAX_SHARDS = 1 << 16, 512, 1024, 1000
# They name code, weights or a kernel that transformers then gets from the hub.
_NOT_ALLOWED = re.compile(
    "auto_map|.*quantization_config|.*experts_implementation|transformers_weights|use_kernels|kernel_config"
)
_ATTENTION = (None, "eager", "sdpa", "flash_attention_2", "flash_attention_3", "flex_attention")


def check_folder(folder: Path) -> int:
    """Check a folder of transformers; return how many weights its files have.

    Raises UntrustedError, and OSError.
    """
    if (folder / "adapter_config.json").exists():
        raise UntrustedError("adapter_config.json is not of SAM2, and names another model")
    config = read_json(read_file(folder / "config.json", _CONFIG_LIMIT))
    if not isinstance(config, dict):
        raise UntrustedError("config.json is no object")
    for name, value in _values(config, ""):
        _check_value(name, value)
    count = 0
    for name in _weight_files(folder):
        try:
            count += check_safetensors(folder / name)
        except UntrustedError as error:
            raise UntrustedError(f"{name}: {error}") from None
    return count


def check_size(model: Any, weights: int) -> None:
    """Raise UntrustedError if a model on the meta device has more weights than its files."""
    needed = sum(parameter.numel() for parameter in model.parameters())
    if needed > weights:
        raise UntrustedError(
            f"weights of SAM2 are missing in it: config.json names {needed}, and the files have "
            f"{weights}"
        )


def check_pickle(path: Path) -> None:
    """Raise UntrustedError for a ``.pt`` file that should not even be unpickled."""
    version = tuple(int(part) for part in re.findall(r"\d+", torch.__version__)[:2])
    if version < OLDEST_TORCH:
        raise UntrustedError(
            f"torch {torch.__version__} can run code that such a file contains (CVE-2025-32434, "
            "CVE-2026-24747); use torch 2.10 or newer, or a folder with model.safetensors"
        )
    check_torch(path)


def check_state(content: Any, size: int) -> Mapping[str, torch.Tensor]:
    """Return the weights in an unpickled file of ``size`` bytes. Raises UntrustedError.

    A tensor can be larger than its numbers, which it then repeats.
    """
    state = content.get("model", content) if isinstance(content, Mapping) else None
    if not isinstance(state, Mapping):
        raise UntrustedError("has no weights by their names")
    total = 0
    for name, tensor in state.items():
        if not isinstance(name, str) or not isinstance(tensor, torch.Tensor):
            raise UntrustedError(f"{printable(name)} is no tensor")
        if tensor.layout != torch.strided or tensor.device.type != "cpu":
            raise UntrustedError(f"{printable(name)} is no ordinary tensor")
        total += tensor.numel() * tensor.element_size()
    if total > 2 * size:
        raise UntrustedError(f"its tensors have {total} bytes, and the file {size}")
    return state


def _values(value: Any, name: str) -> Iterator[tuple[str, Any]]:
    """Yield all values and their names, those in a list with the name of the list."""
    if isinstance(value, dict):
        for key, item in value.items():
            yield str(key), item
            yield from _values(item, str(key))
    elif isinstance(value, list):
        for item in value:
            yield name, item
            yield from _values(item, name)


def _check_value(name: str, value: Any) -> None:
    if value in (None, {}, []) and value is not False:
        return
    if _NOT_ALLOWED.fullmatch(name):
        raise UntrustedError(f"config.json has {printable(name)}, which SAM2 does not need")
    if "attn_implementation" in name and value not in _ATTENTION:
        raise UntrustedError(f"config.json has {printable(name)} {printable(value)}")
    if name == "model_type" and not str(value).startswith("sam2"):
        raise UntrustedError(f"config.json is of a model {printable(value)}")
    if isinstance(value, list) and len(value) > _MAX_LIST:
        raise UntrustedError(f"config.json has {len(value)} values of {printable(name)}")
    if isinstance(value, (int, float)):
        layers = any(word in name for word in ("layers", "blocks", "stages", "depth"))
        limit = _MAX_LAYERS if layers else _MAX_SIZE
        if abs(value) > limit:
            raise UntrustedError(
                f"config.json has {printable(name)} {printable(value)}; at most {limit}"
            )


def _weight_files(folder: Path) -> list[str]:
    if (folder / WEIGHTS).exists():
        return [WEIGHTS]
    index = read_json(read_file(folder / INDEX, _INDEX_LIMIT), limit=_INDEX_LIMIT)
    names = index.get("weight_map") if isinstance(index, dict) else None
    if not isinstance(names, dict) or not names:
        raise UntrustedError(f"{INDEX} has no weight_map")
    files = sorted({str(name) for name in names.values()})
    for name in files:
        if not re.fullmatch(r"[\w-][\w.-]*\.safetensors", name):
            raise UntrustedError(f"{INDEX} names {printable(name)}")
    if len(files) > _MAX_SHARDS:
        raise UntrustedError(f"{INDEX} names {len(files)} files")
    return files
