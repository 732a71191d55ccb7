"""Which models can be fetched: hub ids, revisions, sizes and checksums.

Revisions, sizes and SHA-256 are those of the hub's own files, as pinned by public projects that
download them (looked up in November 2026, no hub was at hand): every revision and weight file in
several projects that share no code. The four `config.json` were also rebuilt, byte for byte, from
transformers' Sam2VideoConfig. Were a pin wrong all the same, the fetch would be refused, and
`--revision main` checks against what the hub announces.

DAM has no pin: no public project was found that has one, and none was made up. Its first fetch is
checked against what the hub announces for the commit that `revision` stands for at that time, and
what was fetched then is the pin from there on (`models.lock.json`).
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass


class ModelError(RuntimeError):
    """Something about a model's files failed; the message is one line and says what to do."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file at one revision. Small files are announced by the hub by their git id alone."""

    name: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model of the hub, at a pinned revision (a commit) or, without `files`, unpinned."""

    name: str
    alias: str
    """A shorter name for the command line."""
    repo: str
    revision: str
    licence: str
    terms: str = ""
    """What somebody must agree to before anything is fetched; empty: nothing."""
    files: tuple[ModelFile, ...] = ()
    wanted: tuple[str, ...]
    """What is taken of a revision that is not pinned: patterns of names, `*` crosses folders."""
    needed: tuple[str, ...]
    """Patterns of which each must be met, or it is not this model."""
    expected_size: int = 0
    """Bytes, about, where no files are pinned."""

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files) or self.expected_size


WEIGHTS = "model.safetensors"

# The same in all four repositories.
_PROCESSORS = (
    ModelFile(
        name="preprocessor_config.json",
        size=683,
        sha256="6ebf229ee259368ce4a8d4f2fe893a72b053023710853e257253939e601f583d",
    ),
    ModelFile(
        name="processor_config.json",
        size=95,
        sha256="f8a68e865cfad115c1c2763f3d93eca7b1c622da06da2a9273eb437fb2389b6d",
    ),
)


def _sam2(size: str, revision: str, config: tuple[int, str], weights: tuple[int, str]) -> Model:
    return Model(
        name=f"sam2.1-hiera-{size}",
        alias=size,
        repo=f"facebook/sam2.1-hiera-{size}",
        revision=revision,
        licence="Apache-2.0",
        files=(
            ModelFile(name="config.json", size=config[0], sha256=config[1]),
            *_PROCESSORS,
            ModelFile(name=WEIGHTS, size=weights[0], sha256=weights[1]),
        ),
        wanted=("config.json", "preprocessor_config.json", "processor_config.json", WEIGHTS),
        needed=("config.json", WEIGHTS),
    )


DAM = Model(
    name="DAM-3B-Self-Contained",
    alias="dam",
    repo="nvidia/DAM-3B-Self-Contained",
    revision="main",
    licence="NVIDIA non-commercial",
    terms="""\
DAM's weights are under the NVIDIA Noncommercial License, not under that of deep_perception:
use for research or evaluation only, never commercially (a product, a paid service, a robot at
work for money); it goes on to whatever you make of the weights. The licence's own words count:
https://huggingface.co/nvidia/DAM-3B-Self-Contained/blob/main/LICENSE""",
    # Folders for the vision tower, the projector, the context provider and the language model, and
    # the Python code that runs them. No pickled weights (.bin, .pt): loading them runs code.
    wanted=("*.safetensors", "*.json", "*.py", "*.model", "*.jinja", "*LICENSE*", "*README.md"),
    needed=("config.json", "*.safetensors", "*.py"),
    expected_size=7_100_000_000,
)

CATALOGUE = (
    _sam2(
        "tiny",
        "de431c4043854a71d8101e17995dfe596bf101a5",
        (5_695, "860aff9751b139d83a4ad7df1e5535416fded533e0ead02625edbefcb9953cce"),
        (155_908_064, "48c14467e5cf9e51870511feb72c89688e82dd74523142c0538b663e193ac2a7"),
    ),
    _sam2(
        "small",
        "ee5bba1d82bb8749febdf90f45e84b687142ba03",
        (5_698, "97ff9f65b76d107acda4247885f0a5555d0048850ae3c5f97183df289aaecde9"),
        (184_305_280, "0a4067b11ce1e23d5229203f11c718a823060d15a4b23fa2372a7d4b77cbbc60"),
    ),
    _sam2(
        "base-plus",
        "b7320756a13354e7530a63935656d35b2f91a290",
        (5_705, "8e24a93b6a40d4dad86eaec383ce7b4044f37ec6360136460f5ff2ce55f87390"),
        (323_476_296, "2012733a0de5d03efd1bba550a2847c4551be9ef2e0d497c83074df66189f780"),
    ),
    _sam2(
        "large",
        "665f8e2ad61cf5f53d65644ff27c8ee525124610",
        (5_705, "00446988cf4d617118d2d347eabe2c46aebed744628facdd540508be30b69ec3"),
        (897_897_416, "dc407dce21301fd94abb395c5099b4f2c455fdc8a8f261ac3d0ea6d4cd197230"),
    ),
    DAM,
)


def find_model(text: str) -> Model:
    """By name, by hub id or by alias (`tiny`, `dam`). Raises ModelError."""
    for model in CATALOGUE:
        if text in (model.name, model.repo, model.alias):
            return model
    names = [model.name for model in CATALOGUE]
    near = difflib.get_close_matches(text, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"there is {', '.join(names)}"
    raise ModelError(f"{text}: there is no such model; {hint}")


def fetch_command(checkpoint: str = "") -> str:
    """The command that gets what a missing checkpoint stands for, also by its original name.

    ``checkpoints/sam2.1_hiera_large.pt`` -> ``deep_perception models fetch sam2.1-hiera-large``.
    """
    name = checkpoint.rstrip("/").rsplit("/", 1)[-1]
    for size, mark in (("large", "_l."), ("base-plus", "_b+"), ("small", "_s."), ("tiny", "_t.")):
        if size.split("-")[0] in name or mark in name:
            return f"deep_perception models fetch sam2.1-hiera-{size}"
    return "deep_perception models fetch sam2.1-hiera-tiny"


def megabytes(size: int) -> str:
    """A size for people."""
    if size >= 10**9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 10**6 else f"{size / 1e3:.1f} kB"
