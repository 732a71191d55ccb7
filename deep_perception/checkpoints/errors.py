"""Turn the errors of the hub, the network and the disk into one line that says what to do."""

from __future__ import annotations

import errno
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from deep_perception.checkpoints.catalog import Model, ModelError, megabytes
from deep_perception.checkpoints.on_disk import parts
from deep_perception.untrusted.text import REASON, printable

INSTALL = "python -m pip install 'huggingface_hub>=2.4,<3'"


@contextmanager
def hub_errors(model: Model, revision: str, path: Path) -> Iterator[None]:
    """Raise ModelError with one line for every error of the hub, the network or the disk."""
    try:
        import huggingface_hub.errors as hub
        import huggingface_hub.file_download  # noqa: F401 The first import sets the log level.
    except ImportError:
        raise ModelError(f"huggingface_hub is not installed: {INSTALL}") from None

    # The library logs a warning for each retry.
    logger = logging.getLogger("huggingface_hub")
    level = logger.level
    logger.setLevel(logging.CRITICAL)
    try:
        yield
    except ModelError:
        raise
    except Exception as error:  # The exceptions of httpx2 share no base class with the hub's.
        reason = _reason(error, hub, model, revision)
        raise ModelError(f"{model.name}: {reason}{resume_hint(path)}") from error
    finally:
        logger.setLevel(level)


def resume_hint(path: Path) -> str:
    """Return the end of a message that says how much was downloaded, "" for nothing."""
    size = sum(part.stat().st_size for part in parts(path))
    return f"; {megabytes(size)} are kept, run the same command again to resume" if size else ""


def _reason(error: Exception, hub: Any, model: Model, revision: str) -> str:
    from huggingface_hub import constants

    where, status = constants.ENDPOINT, _status(error)
    if isinstance(error, hub.OfflineModeIsEnabled):
        return "HF_HUB_OFFLINE is set; unset it to download"
    if isinstance(error, hub.GatedRepoError):
        return f"{model.repo} is gated; accept its terms at {where}/{model.repo} and set HF_TOKEN"
    if isinstance(error, hub.RevisionNotFoundError):
        return f"{where} has {model.repo}, but no revision {revision}"
    if isinstance(error, hub.EntryNotFoundError) or status == 404:
        return f"{where} has no {model.repo} with these files at revision {revision} (404)"
    if status in (401, 403):
        return (
            f"{where} denies access to {model.repo} ({status}): it does not exist there, is "
            "private, or HF_TOKEN is wrong"
        )
    if status:
        return f"{where} answers with an error ({status}); try again later"
    # The version of the hub's library decides whether it uses httpx or httpx2.
    if type(error).__module__.startswith("httpx"):
        if "Timeout" in type(error).__name__:
            return f"{where} does not answer in time"
        if "Protocol" in type(error).__name__ or "Read" in type(error).__name__:
            return f"{where} closed the connection ({_first_line(error)})"
        return f"{where} cannot be reached ({_first_line(error)})"
    if isinstance(error, OSError):
        return f"{_path_of(error)}{os_reason(error)}"
    return f"{type(error).__name__}: {_first_line(error)}"


def _path_of(error: OSError) -> str:
    """Return the file that an error is about as the start of a message."""
    return f"{error.filename}: " if error.filename else ""


def _status(error: Exception) -> int:
    return int(getattr(getattr(error, "response", None), "status_code", 0))


def os_reason(error: OSError) -> str:
    """Return the reason of an error of the file system in plain words."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return "the disk is full"
    if error.errno == errno.EFBIG:
        return "the file system or a limit of this process allows no file of this size"
    return _first_line(error.strerror or error)


def _first_line(text: object) -> str:
    """Return a reason that may be the words of a server."""
    return printable((str(text).strip().splitlines() or ["no reason given"])[0], REASON)
