"""Find backends: by a name in a registry, or the user's own as ``package.module:Class``."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from deep_perception.redaction.output import clean_line
from deep_perception.settings import Settings
from deep_perception.untrusted.text import printable

# The methods of the protocols in segmenters/ and describers/, which a class must have.
METHODS = {"segmenter": ("embed", "masks", "close"), "describer": ("describe", "close")}
# The members that an instance must have.
MEMBERS = {
    "segmenter": ("name", "model", "chunk_size", *METHODS["segmenter"]),
    "describer": ("name", "model", *METHODS["describer"]),
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

    The constructor gets the settings if it has a parameter ``settings``. Nothing but a class with
    the methods of the protocol is called. Raises BackendUnavailable, also if the module or the
    constructor ends the process (``sys.exit``); a KeyboardInterrupt is one.
    """
    target = registry.get(name, name)
    if problem := problem_of_name(kind, name, registry):
        raise BackendUnavailable(problem)
    module_name, class_name = target.split(":", 1)
    quoted = f"{kind} {printable(repr(name))}"
    with _unavailable(f"{quoted} cannot be loaded"):
        backend_class = getattr(importlib.import_module(module_name), class_name)
    if problem := _problem_of_class(kind, backend_class):
        raise BackendUnavailable(f"{quoted} {problem}")
    with _unavailable(f"{quoted} cannot start"):
        takes_settings = _takes_settings(backend_class)
        backend = backend_class(settings=settings) if takes_settings else backend_class()
    missing = [member for member in MEMBERS[kind] if not hasattr(backend, member)]
    if missing:
        raise BackendUnavailable(f"{quoted} lacks {', '.join(missing)}")
    return backend


@contextmanager
def _unavailable(what: str) -> Iterator[None]:
    """Raise BackendUnavailable for anything that a broken installation may raise."""
    try:
        yield
    except KeyboardInterrupt:
        raise
    except BaseException as error:
        reason = f"it ends the process ({error})" if isinstance(error, SystemExit) else str(error)
        message = f"{what}: {reason or type(error).__name__}"
        raise BackendUnavailable(clean_line(message)) from error


def _problem_of_class(kind: str, found: object) -> str:
    """Say why something is no class of a backend, which is found out without calling it, or ""."""
    methods = METHODS[kind]
    if not isinstance(found, type):
        return (
            f"is a {type(found).__name__}, expected a class with the methods {', '.join(methods)}"
        )
    missing = [method for method in methods if not callable(getattr(found, method, None))]
    return f"lacks {', '.join(missing)}" if missing else ""


def problem_of_name(kind: str, name: str, registry: Mapping[str, str]) -> str:
    """Say that a name is neither in the registry nor one's own class, and what was meant, or ""."""
    if ":" in registry.get(name, name):
        return ""
    meant = PRODUCTS.get(name.lower(), "")
    near = [meant] if meant in registry else difflib.get_close_matches(name, registry, n=1)
    hint = f"; did you mean {near[0]}?" if near else ""
    return (
        f"{kind} {printable(repr(name))} is not in this version of deep_perception; there is "
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
