"""Find backends: by a name in a registry, or the user's own as ``package.module:Class``."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Mapping
from typing import Any

from deep_perception.redaction.output import clean_line
from deep_perception.settings import Settings

# The members of the protocols in segmenters/ and describers/.
MEMBERS = {
    "segmenter": ("name", "model", "chunk_size", "embed", "masks", "close"),
    "describer": ("name", "model", "describe", "close"),
}


class BackendUnavailable(RuntimeError):
    """A backend cannot work here; the message says why and what to do."""


# What users call a backend by the name of a product that it works with.
PRODUCTS = {
    **dict.fromkeys(
        ("lmstudio", "lm-studio", "lm_studio", "ollama", "openai", "vllm", "llamacpp", "llama.cpp",
         "gpt", "llm", "vlm", "openrouter"),
        "chat",
    ),
    **dict.fromkeys(("sam", "sam2.1", "segment-anything"), "sam2"),
    **dict.fromkeys(("describe-anything", "dam-3b"), "dam"),
}  # fmt: skip


def create(kind: str, name: str, registry: Mapping[str, str], settings: Settings) -> Any:
    """Return an instance of a registered backend, or of ``package.module:Class``.

    The constructor gets the settings if it has a parameter ``settings``. Raises BackendUnavailable.
    """
    target = registry.get(name, name)
    if problem := problem_of_name(kind, name, registry):
        raise BackendUnavailable(problem)
    module_name, class_name = target.split(":", 1)
    try:
        factory: Callable[..., Any] = getattr(importlib.import_module(module_name), class_name)
    except Exception as error:  # a broken installation may raise anything on import
        reason = clean_line(error)
        raise BackendUnavailable(f"{kind} {name!r} cannot be loaded: {reason}") from error
    try:
        backend = factory(settings=settings) if _takes_settings(factory) else factory()
    except Exception as error:
        reason = clean_line(error)
        raise BackendUnavailable(f"{kind} {name!r} cannot start: {reason}") from error
    missing = [member for member in MEMBERS[kind] if not hasattr(backend, member)]
    if missing:
        raise BackendUnavailable(f"{kind} {name!r} lacks {', '.join(missing)}")
    return backend


def problem_of_name(kind: str, name: str, registry: Mapping[str, str]) -> str:
    """Say that a name is neither in the registry nor one's own class, and what was meant, or ""."""
    if ":" in registry.get(name, name):
        return ""
    meant = PRODUCTS.get(name.lower(), "")
    near = [meant] if meant in registry else difflib.get_close_matches(name, registry, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return (
        f"{kind} {name!r} is not in this version of deep_perception; there is "
        f"{', '.join(registry)}, or your own as 'package.module:Class'{hint}"
    )


def create_or_fall_back(
    kind: str, name: str, fallback: str, registry: Mapping[str, str], settings: Settings
) -> tuple[Any, str]:
    """Return the backend and "", or its fallback and a warning."""
    try:
        return create(kind, name, registry, settings), ""
    except BackendUnavailable as error:
        return fall_back(error, kind, name, fallback, registry, settings)


def fall_back(
    error: BackendUnavailable,
    kind: str,
    name: str,
    fallback: str,
    registry: Mapping[str, str],
    settings: Settings,
) -> tuple[Any, str]:
    """Return the fallback of a backend and a warning. Raises the error if there is none."""
    if not fallback or fallback == name:
        raise error
    backend = create(kind, fallback, registry, settings)
    return backend, f"{error}; {fallback!r} is used instead"


def _takes_settings(factory: Callable[..., Any]) -> bool:
    import inspect

    return "settings" in inspect.signature(factory).parameters
