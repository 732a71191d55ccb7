"""The commands that install pinned packages: uv where it can be had, else pip, which is slower."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from .plan import ROOT, STATE, pins

# Options of pip, from its files and its environment variables, as options of `uv pip install`.
OPTIONS = {
    "index-url": "--default-index",
    "extra-index-url": "--index",
    "find-links": "--find-links",
    "constraint": "--constraint",
    "no-index": "--no-index",
}
# Options of pip that uv does not need, and the certificates, which it reads from a variable.
IGNORED = {
    "cache-dir", "cert", "default-timeout", "disable-pip-version-check", "no-cache-dir", "no-color",
    "no-input", "progress-bar", "retries", "root-user-action", "timeout", "user",
}  # fmt: skip
EMPY = ["--no-binary", "empy", "--no-build-isolation"]

Run = Callable[[Sequence[str | Path]], int]


def with_pip(python: Path, listed: Path, *, build_empy: bool) -> list[str | Path]:
    """Return the command that installs the listed pins with pip."""
    command: list[str | Path] = [python, "-m", "pip", "install", "--no-deps", "--no-input"]
    # Like uv, it leaves the bytecode to the first import, which halves the time.
    command += ["--no-compile", "--only-binary", ":all:"]
    if build_empy:
        command += [*EMPY, "--use-pep517"]
    return [*command, "-r", listed]


def with_uv(
    uv: Path, python: Path, listed: Path, options: Mapping[str, str], *, build_empy: bool
) -> list[str | Path]:
    """Return the command that installs the listed pins with uv, from where pip would take them."""
    command: list[str | Path] = [uv, "pip", "install", "--python", python, "--no-deps"]
    # As pip does: all indexes are equal.
    command += ["--index-strategy", "unsafe-best-match", "--only-binary", ":all:"]
    if build_empy:
        command += EMPY
    for name, option in OPTIONS.items():
        if name == "no-index":
            command += [option] if options.get(name, "0") in ("1", "true", "yes", "on") else []
        else:
            for value in options.get(name, "").split():
                command += [option, value]
    return [*command, "-r", listed]


def find_uv(python: Path, options: Mapping[str, str], run: Run) -> Path | None:
    """Return uv, which the first call installs, or None where only pip can do the work.

    That is so if an option of pip has no counterpart in uv, or if uv has no wheel for this machine.
    """
    if options.keys() - OPTIONS.keys() - IGNORED:
        return None
    [(_, pin)] = pins([ROOT / "requirements" / "uv.txt"], (3, 10)).items()
    folder = STATE / pin.replace("==", "-")
    if not folder.exists():
        part = STATE / "uv.part"
        shutil.rmtree(part, ignore_errors=True)
        install: list[str | Path] = [python, "-m", "pip", "install", "--no-deps", "--no-input"]
        if run([*install, "--only-binary", ":all:", "--target", part, pin]):
            return None
        part.replace(folder)
    uv = folder / "bin" / "uv"
    return uv if uv.is_file() else None


def variables_of_uv(options: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that uv gets beside the caller's."""
    return {"SSL_CERT_FILE": options["cert"]} if options.get("cert") else {}
