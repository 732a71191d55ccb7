"""Loading SAM2's weights from a transformers folder, from Meta's ``.pt`` file, or from the hub."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file, save_file
from transformers import Sam2Model

from deep_perception.backends import BackendUnavailable
from deep_perception.checkpoints.catalog import CATALOGUE, fetch_command
from deep_perception.segmenters.sam2 import convert
from deep_perception.segmenters.sam2.checks import (
    INDEX,
    check_folder,
    check_pickle,
    check_size,
    check_state,
)
from deep_perception.segmenters.sam2.convert import State
from deep_perception.segmenters.sam2.files import find
from deep_perception.untrusted import UntrustedError
from deep_perception.untrusted.model_files import check_safetensors
from deep_perception.untrusted.text import REASON, printable

log = logging.getLogger(__name__)

CACHE_SUFFIX = ".transformers.safetensors"
# Increment it when RENAMES change, so that older caches are not read.
CACHE_VERSION = "1"


def load(checkpoint: str, config: str) -> tuple[Any, str]:
    """Load a transformers ``Sam2Model`` (float32, eval mode, on the CPU); returns it and its name.

    Raises BackendUnavailable with a remedy if the checkpoint is missing, broken or of another
    architecture.
    """
    path = find(checkpoint)
    if path is None or path.is_dir():
        return _from_transformers(checkpoint, path), path.name if path else checkpoint
    return _from_official(path, config), path.name


def _from_transformers(source: str, folder: Path | None) -> Any:
    """Load a folder that transformers saved (also of a Sam2VideoModel), or a hub id."""
    source = str(folder) if folder else source
    loader: Any = Sam2Model
    try:
        with _silent_transformers():
            folder = folder or _downloaded(source)
            weights = check_folder(folder)
            chosen = loader.config_class.from_pretrained(folder, local_files_only=True)
            with torch.device("meta"):
                check_size(loader(chosen), weights)
            model, report = loader.from_pretrained(
                folder,
                dtype=torch.float32,
                output_loading_info=True,
                use_safetensors=True,
                local_files_only=True,
            )
    except Exception as error:  # The hub, the disk and broken files raise errors of any class.
        raise _unusable(source, error) from error
    # Missing weights would be left random.
    if report["missing_keys"]:
        raise _unusable(source, f"{len(report['missing_keys'])} weights of SAM2 are missing in it")
    return model.eval()


def _downloaded(source: str) -> Path:
    """Return the folder of a hub id, downloaded at its first use; of a known one, as pinned."""
    from huggingface_hub import snapshot_download

    revision = next((model.revision for model in CATALOGUE if model.repo == source), None)
    wanted = ["config.json", "model*.safetensors", INDEX]
    return Path(snapshot_download(source, revision=revision, allow_patterns=wanted))


def _from_official(path: Path, config: str) -> Any:
    """Load and convert Meta's checkpoint; the result is cached beside it."""
    try:
        state = _read_cache(path)
        if state is None:
            check_pickle(path)
            official = torch.load(path, map_location="cpu", weights_only=True)
            state = convert.convert(check_state(official, path.stat().st_size))
            _write_cache(path, state)
        trunk = convert.find_trunk(config, path.parent, state)
        return _build(convert.to_config(trunk), state)
    except Exception as error:  # Unpickling a broken file raises errors of any class.
        raise _unusable(str(path), error) from error


def _build(config: Any, state: State) -> Any:
    # On the meta device the initial weights, which are replaced at once, take no memory or time.
    with torch.device("meta"):
        model: Any = Sam2Model(config)
    model.load_state_dict(state, assign=True)
    return model.eval()


def _read_cache(path: Path) -> State | None:
    cache = path.with_suffix(CACHE_SUFFIX)
    if not cache.is_file():
        return None
    try:
        check_safetensors(cache)
        with safe_open(cache, framework="pt") as stored:
            if stored.metadata() != _stamp(path):
                return None
        return dict(load_file(cache))
    except (SafetensorError, UntrustedError, OSError) as error:
        reason = printable(error, REASON)
        log.warning("%s is converted again, because its cache is broken (%s)", path, reason)
        return None


def _write_cache(path: Path, state: State) -> None:
    cache = path.with_suffix(CACHE_SUFFIX)
    draft = cache.with_name(cache.name + ".part")
    try:
        draft.unlink(missing_ok=True)  # It may be a link to another file.
        contiguous = {name: tensor.contiguous() for name, tensor in state.items()}
        save_file(contiguous, draft, _stamp(path))
        draft.replace(cache)
    except Exception as error:  # Without the cache, a read-only or full disk only costs a second.
        draft.unlink(missing_ok=True)
        log.info("%s is converted at every start: %s", path, error)


def _stamp(path: Path) -> dict[str, str]:
    """The metadata by which a cache is recognised as made from this file."""
    status = path.stat()
    source = json.dumps([status.st_size, status.st_mtime_ns])
    return {"source": source, "version": CACHE_VERSION}


def _unusable(source: str, reason: object) -> BackendUnavailable:
    short = printable(" ".join(str(reason).split()) or type(reason).__name__, REASON)
    return BackendUnavailable(
        f"SAM2 cannot use the checkpoint {source}: {short}; `deep_perception models verify` checks "
        f"fetched files, `{fetch_command(source)}` fetches them again"
    )


@contextmanager
def _silent_transformers() -> Iterator[None]:
    """Suppress transformers' progress bars and its warnings about video checkpoints."""
    import transformers

    hf_logging: Any = transformers.utils.logging
    level, has_progress_bar = hf_logging.get_verbosity(), hf_logging.is_progress_bar_enabled()
    hf_logging.set_verbosity_error()
    hf_logging.disable_progress_bar()
    try:
        yield
    finally:
        hf_logging.set_verbosity(level)
        if has_progress_bar:
            hf_logging.enable_progress_bar()
