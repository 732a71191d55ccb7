"""From a folder on disk to a model that has described something."""

from __future__ import annotations

import importlib.metadata
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

from deep_perception.dam_server import checkpoint
from deep_perception.dam_server.errors import LoadError, OutOfMemory
from deep_perception.dam_server.options import Options

if TYPE_CHECKING:
    from deep_perception.dam_server.model import Dam

# Outside of these DAM's code does not import, or some of its weights are silently random.
OLDEST, NEWEST = (4, 41, 2), (4, 50, 3)

# How DAM-3B was trained: the conversation's form, and the whole picture plus a crop of the region.
_CONVERSATION, _PICTURES = "v1", "full+focal_crop"

_log = logging.getLogger(__name__)


def load(options: Options, modules: Path) -> Dam:
    """Load and try out the model; `modules`: an empty folder for its code. Raises LoadError."""
    _check_transformers()
    if not checkpoint.verify(options.checkpoint):
        _log.warning(
            "%s has no %s: what is in it was not checked, its code is executed all the same",
            options.checkpoint,
            checkpoint.LOCK,
        )
    # Nothing may be fetched, and no code but this checkpoint's may be found.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_MODULES_CACHE"] = str(modules)
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        from deep_perception.dam_server import model
    except (ImportError, OSError, RuntimeError) as error:
        raise LoadError(f"torch or transformers cannot be used: {_line(error)}") from error
    try:
        dam = model.Dam(_load(options), _CONVERSATION, _PICTURES)
        dam.try_out()
    except LoadError:
        raise
    except Exception as error:  # anything that the checkpoint's own code raises, too
        if isinstance(error, OutOfMemory) or model.is_out_of_memory(error):
            raise LoadError(_no_memory(options)) from error
        raise LoadError(f"{options.checkpoint} cannot be loaded: {_line(error)}") from error
    return dam


def _check_transformers() -> None:
    try:
        version = importlib.metadata.version("transformers")
    except importlib.metadata.PackageNotFoundError as error:
        raise LoadError(
            "transformers is not installed; make DAM's environment with: "
            "deep_perception models setup-dam"
        ) from error
    numbers = tuple(int(part) for part in re.findall(r"\d+", version)[:3])
    if not OLDEST <= numbers <= NEWEST:
        raise LoadError(
            f"transformers is {version}, DAM's code works with {_dotted(OLDEST)} to "
            f"{_dotted(NEWEST)}; make DAM's environment with: deep_perception models setup-dam"
        )


def _load(options: Options) -> Any:
    import torch
    from transformers import AutoModel

    if options.device == "cuda" and not torch.cuda.is_available():
        raise LoadError(
            f"there is no CUDA GPU that torch {torch.__version__} can use; with one, look at "
            "nvidia-smi and install torch's CUDA build; without one, describer.dam.device: cpu "
            "is possible but takes minutes a region"
        )
    if options.device == "cpu":
        if options.precision != "fp16":
            raise LoadError(f"precision {options.precision} needs device cuda; use fp16 on a CPU")
        _log.warning("on a CPU, in 32 bit: DAM-3B takes minutes a region, and 15 GB of memory")
    # The remote code takes a "yi" or "mpt" anywhere in the path for a kind of language model.
    os.chdir(options.checkpoint.parent)
    whole = AutoModel.from_pretrained(
        options.checkpoint.name,
        trust_remote_code=True,
        local_files_only=True,
        torch_dtype=torch.float16 if options.device == "cuda" else torch.float32,
        low_cpu_mem_usage=True,
        **_quantized(options),
    ).eval()
    if options.precision == "fp16":
        return whole.to(options.device)
    # The language model is where it belongs, and its packed weights must not be moved.
    for part in (whole.vision_tower, whole.mm_projector, whole.context_provider):
        if part is not None:
            part.to(options.device)
    return whole


def _quantized(options: Options) -> dict[str, Any]:
    """Arguments that reach the language model only; what sees the picture stays as it is."""
    if options.precision == "fp16":
        return {}
    try:
        importlib.metadata.version("bitsandbytes")
    except importlib.metadata.PackageNotFoundError as error:
        raise LoadError(
            f"precision {options.precision} needs bitsandbytes; make DAM's environment with: "
            "deep_perception models setup-dam, or use precision fp16"
        ) from error
    import torch
    from transformers import BitsAndBytesConfig

    if options.precision == "8bit":
        config = BitsAndBytesConfig(load_in_8bit=True)
    else:
        config = BitsAndBytesConfig(
            load_in_4bit=True,
            bnb_4bit_quant_type="nf4",
            bnb_4bit_use_double_quant=True,
            bnb_4bit_compute_dtype=torch.float16,
        )
    return {"quantization_config": config, "device_map": {"": 0}}


def _no_memory(options: Options) -> str:
    smaller = {"fp16": "8bit or 4bit", "8bit": "4bit"}.get(options.precision, "")
    advice = f"use describer.dam.precision {smaller}, or " if smaller else ""
    where = "the GPU's memory" if options.device == "cuda" else "memory"
    return f"{where} is too small for DAM in {options.precision}; {advice}end what else uses it"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


def _line(error: BaseException) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"
