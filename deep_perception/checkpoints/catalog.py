"""The models that can be downloaded: hub ids, revisions, sizes and checksums.

Revisions, sizes and SHA-256 of the files on the hub are taken from public projects that pin them
(looked up in November 2026, without access to the hub): each revision and weight file is pinned by
several projects that share no code. The four `config.json` were also rebuilt byte for byte from
transformers' Sam2VideoConfig. If a pin is wrong nevertheless, the download is refused, and
`--revision main` compares with the checksums that the hub reports.

DAM has no pin, as no public project was found that has one. Its first download is compared with the
checksums that the hub reports for the current commit of `revision`. They are written to
`models.lock.json` and serve as the pin from then on.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass

from deep_perception.untrusted.text import printable


class ModelError(RuntimeError):
    """An operation on a model's files failed; the message is one line that says what to do."""


@dataclass(frozen=True, kw_only=True)
class ModelFile:
    """One file at one revision. For a small file the hub reports the git id and no SHA-256."""

    name: str
    size: int
    sha256: str = ""
    git_sha1: str = ""


@dataclass(frozen=True, kw_only=True)
class Model:
    """A model on the hub. Its revision (a commit) is pinned, unless ``files`` is empty."""

    name: str
    alias: str
    """A shorter name for the command line."""
    repo: str
    revision: str
    licence: str
    terms: str = ""
    """The terms that the user must accept before the download, "" for none."""
    files: tuple[ModelFile, ...] = ()
    wanted: tuple[str, ...]
    """Patterns of the file names to download without a pin; ``*`` matches ``/`` too."""
    needed: tuple[str, ...]
    """Patterns that must each match a file of the model."""
    expected_size: int = 0
    """The approximate size in bytes if no files are pinned."""

    @property
    def size(self) -> int:
        """Size in bytes, approximate for a model without a pin."""
        return sum(file.size for file in self.files) or self.expected_size


WEIGHTS = "model.safetensors"

# These files are the same in all four repositories.
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
work for money); it extends to whatever you make of the weights. The text of the licence decides:
https://huggingface.co/nvidia/DAM-3B-Self-Contained/blob/main/LICENSE""",
    # Folders of the vision tower, the projector, the context provider and the language model, and
    # the Python code that runs them, but no pickled weights (.bin, .pt): loading them runs code.
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
    """Return the model with a name, hub id or alias (`tiny`, `dam`). Raises ModelError."""
    for model in CATALOGUE:
        if text in (model.name, model.repo, model.alias):
            return model
    names = [model.name for model in CATALOGUE]
    near = difflib.get_close_matches(text, names, n=1)
    hint = f"did you mean {near[0]}?" if near else f"the models are {', '.join(names)}"
    raise ModelError(f"{printable(text)}: there is no such model; {hint}")


def fetch_command(checkpoint: str = "") -> str:
    """Return the command that downloads a missing checkpoint, also for its original name.

    ``checkpoints/sam2.1_hiera_large.pt`` -> ``deep_perception models fetch sam2.1-hiera-large``.
    """
    name = checkpoint.rstrip("/").rsplit("/", 1)[-1]
    for size, mark in (("large", "_l."), ("base-plus", "_b+"), ("small", "_s."), ("tiny", "_t.")):
        if size.split("-")[0] in name or mark in name:
            return f"deep_perception models fetch sam2.1-hiera-{size}"
    return "deep_perception models fetch sam2.1-hiera-tiny"


def megabytes(size: int) -> str:
    """Return a size in bytes as a text such as "155.9 MB"."""
    if size >= 10**9:
        return f"{size / 1e9:.1f} GB"
    return f"{size / 1e6:.0f} MB" if size >= 10**6 else f"{size / 1e3:.1f} kB"
