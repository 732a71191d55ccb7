"""The Python environment: versions, backends and their weights, fonts."""

from __future__ import annotations

import platform
import sys
from collections.abc import Iterator
from importlib import metadata
from importlib.util import find_spec
from pathlib import Path

from deep_perception._version import __version__
from deep_perception.doctor import Finding
from deep_perception.settings import Settings

PYTHON, BACKENDS = "Python", "Backends"
OLDEST = (3, 10)
LIBRARIES = ("numpy", "opencv-python-headless", "pillow", "pydantic", "scipy", "pyyaml")
# The module of each library, for the ones that a distribution installs without metadata of pip.
MODULES = {"opencv-python-headless": "cv2", "pillow": "PIL", "pyyaml": "yaml"}
# A letter of scripts that the shipped font does not have.
SCRIPTS = {"Chinese": "杯", "Japanese": "カ", "Korean": "컵", "Hindi": "क", "Thai": "ก"}


def check_environment(settings: Settings) -> Iterator[Finding]:
    """Yield the findings about this Python, the chosen backends and the fonts."""
    yield _python()
    yield from _libraries()
    yield from _segmenter(settings)
    yield from _describer(settings)
    yield _fonts(settings)


def _python() -> Finding:
    text = (
        f"deep_perception {__version__} with Python {platform.python_version()} "
        f"({sys.executable}) on {platform.system()} {platform.machine()}"
    )
    return Finding(section=PYTHON, level="ok", what=text)


def _libraries() -> Iterator[Finding]:
    found, missing = [], []
    for name in LIBRARIES:
        module = MODULES.get(name, name)
        if find_spec(module) is None:
            missing.append(name)
            continue
        try:
            found.append(f"{name} {metadata.version(name)}")
        except metadata.PackageNotFoundError:
            found.append(name)
    yield Finding(section=PYTHON, level="ok", what=", ".join(found))
    if missing:
        yield Finding(
            section=PYTHON,
            level="wrong",
            what=f"not installed: {', '.join(missing)}",
            remedy=f"python -m pip install {' '.join(missing)}",
        )


def _segmenter(settings: Settings) -> Iterator[Finding]:
    from deep_perception.segmenters import REGISTRY

    chosen = settings.segmenter
    if chosen.backend not in ("sam2", "sam2_official"):
        yield _embedded_or_own("segmenter", chosen.backend, REGISTRY)
        yield from _optional_sam2(settings)
        return
    absent = [name for name in ("torch", "transformers") if find_spec(name) is None]
    if absent:
        yield _unusable(
            f"segmenter {chosen.backend}: {' and '.join(absent)} not installed",
            fallback=chosen.fallback,
            remedy="python -m pip install 'deep_perception[sam2]', or '.[sam2]' in the clone",
        )
    checkpoint = Path(chosen.checkpoint).expanduser()
    if not checkpoint.exists():
        yield _unusable(
            f"segmenter {chosen.backend}: nothing at {checkpoint.absolute()}",
            fallback=chosen.fallback,
            remedy="deep_perception models fetch sam2.1-hiera-tiny, or set segmenter.checkpoint",
        )
    elif not absent:
        yield Finding(
            section=BACKENDS,
            level="ok",
            what=f"segmenter {chosen.backend}, weights in {checkpoint}",
        )


def _optional_sam2(settings: Settings) -> Iterator[Finding]:
    from deep_perception.checkpoints.catalog import CATALOGUE
    from deep_perception.checkpoints.on_disk import inspect

    on_disk = [inspect(model, Path("checkpoints")) for model in CATALOGUE]
    there = [item for item in on_disk if item.state != "absent"]
    for item in there:
        state = "" if item.state in ("complete", "unverified") else f", {item.state}"
        yield Finding(
            section=BACKENDS,
            level="note" if state else "ok",
            what=f"weights on disk: {item.path}{state}",
            remedy=f"deep_perception models fetch {item.model.name}" if state else "",
        )
    if not there:
        yield Finding(section=BACKENDS, level="note", what="no weights on disk; none are needed")


def _describer(settings: Settings) -> Iterator[Finding]:
    from deep_perception.describers import REGISTRY

    chosen = settings.describer
    if chosen.backend != "dam":
        if chosen.backend != "chat":
            yield _embedded_or_own("describer", chosen.backend, REGISTRY)
        return
    from deep_perception.describers.dam.environment import path_of, problem_of

    problem = problem_of(path_of(chosen.dam.environment)) if chosen.dam.manage_server else ""
    if problem:
        yield _unusable(
            f"describer dam: {problem}",
            fallback=chosen.fallback,
            remedy="deep_perception models setup-dam",
        )
    checkpoint = Path(chosen.dam.checkpoint).expanduser()
    if chosen.dam.manage_server and not checkpoint.exists():
        yield _unusable(
            f"describer dam: nothing at {checkpoint.absolute()}",
            fallback=chosen.fallback,
            remedy="deep_perception models fetch dam",
        )


def _embedded_or_own(kind: str, name: str, registry: object) -> Finding:
    if isinstance(registry, dict) and name in registry:
        return Finding(section=BACKENDS, level="ok", what=f"{kind} {name}, embedded")
    if ":" in name:
        module = name.split(":")[0]
        try:
            there = find_spec(module) is not None
        except (ImportError, ValueError):
            there = False
        if there:
            return Finding(section=BACKENDS, level="ok", what=f"{kind} {name}, your own")
    known = ", ".join(registry) if isinstance(registry, dict) else ""
    return Finding(
        section=BACKENDS,
        level="wrong",
        what=f"{kind}.backend: there is no {name!r}",
        remedy=f"set it to {known} or your own 'package.module:Class' in PYTHONPATH",
    )


def _unusable(problem: str, *, fallback: str, remedy: str) -> Finding:
    return Finding(
        section=BACKENDS,
        level="note" if fallback else "wrong",
        what=f"{problem}; {fallback} is used instead" if fallback else problem,
        remedy=remedy,
    )


def _fonts(settings: Settings) -> Finding:
    from deep_perception.drawing.fonts import face_for

    missing = [script for script, letter in SCRIPTS.items() if face_for(letter) is None]
    if not missing:
        return Finding(section=BACKENDS, level="ok", what="fonts for the labels of all scripts")
    return Finding(
        section=BACKENDS,
        level="note",
        what=f"no font for {', '.join(missing)}: drawn labels in them are numbers "
        "(output.labels: words); Latin, Greek, Cyrillic, Arabic and Hebrew are there",
        remedy="if such labels are drawn: sudo apt install fonts-noto-cjk fonts-noto-core",
    )
