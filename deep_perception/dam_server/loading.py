"""Load the model from a folder and test it with a first description."""

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
from deep_perception.untrusted.text import REASON, printable

if TYPE_CHECKING:
    from deep_perception.dam_server.model import Dam

# With other versions, DAM's code cannot be imported or some weights are random without a warning.
OLDEST, NEWEST = (4, 41, 2), (4, 50, 3)

# As DAM-3B was trained: the template of the conversation, and the whole image plus a crop of the
# region.
_CONVERSATION, _CROPS = "v1", "full+focal_crop"

_log = logging.getLogger(__name__)


def load(options: Options, modules: Path) -> Dam:
    """Load and test the model; ``modules``: an empty private folder for its code.

    Raises LoadError.
    """
    _check_transformers()
    folder, compared = checkpoint.checked(options.checkpoint, modules / "checkpoint")
    if not compared:
        _log.warning(
            "%s has no %s: its files were not checked, and its code is executed nevertheless",
            options.checkpoint,
            checkpoint.LOCK,
        )
    # Nothing is downloaded, and no code but that of this checkpoint is found.
    os.environ["HF_HUB_OFFLINE"] = "1"
    os.environ["HF_MODULES_CACHE"] = str(modules / "code")
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    try:
        from deep_perception.dam_server import model
    except (ImportError, OSError, RuntimeError) as error:
        raise LoadError(f"torch or transformers cannot be used: {_line(error)}") from error
    try:
        dam = model.Dam(_load(options, folder), _CONVERSATION, _CROPS)
        dam.warm_up()
    except LoadError:
        raise
    except Exception as error:  # The checkpoint's own code may raise anything.
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


def _load(options: Options, folder: Path) -> Any:
    import torch
    from transformers import AutoModel

    if options.device == "cuda" and not torch.cuda.is_available():
        raise LoadError(
            f"there is no CUDA GPU that torch {torch.__version__} can use; if the machine has one, "
            "check nvidia-smi and install torch's CUDA build; if not, set describer.dam.device to "
            "cpu, which takes minutes for a region"
        )
    if options.device == "cpu":
        if options.precision != "fp16":
            raise LoadError(f"precision {options.precision} needs device cuda; use fp16 on a CPU")
        _log.warning("on a CPU, DAM-3B takes minutes for a region, and 15 GB of memory")
    # The remote code interprets "yi" or "mpt" anywhere in the path as a kind of language model, so
    # it gets the name of the folder only.
    os.chdir(folder.parent)
    model = AutoModel.from_pretrained(
        folder.name,
        trust_remote_code=True,
        local_files_only=True,
        torch_dtype=torch.float16 if options.device == "cuda" else torch.float32,
        low_cpu_mem_usage=True,
        **_quantized(options),
    ).eval()
    if options.precision == "fp16":
        return model.to(options.device)
    # The quantized language model is on the GPU already, and its weights must not be moved.
    for part in (model.vision_tower, model.mm_projector, model.context_provider):
        if part is not None:
            part.to(options.device)
    return model


def _quantized(options: Options) -> dict[str, Any]:
    """Return arguments that quantize the language model and leave the image encoder as it is."""
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
    return f"{where} is too small for DAM in {options.precision}; {advice}end other programs"


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(str(number) for number in version)


def _line(error: BaseException) -> str:
    return printable(f"{type(error).__name__}: {' '.join(str(error).split())}", REASON)
