"""A user at a shell who downloads checkpoints from a server that imitates the hub."""

import hashlib
import importlib.util
import json
import os
import re
import sys
import time
from pathlib import Path

import pytest

from deep_perception.checkpoints.catalog import Model, ModelFile
from support.forked_cli import forked_cli
from support.hub_server import COMMIT

ROOT = Path(__file__).parents[2]
NAME = "sam2.1-hiera-tiny"
WEIGHTS = "model.safetensors"
MIB = 1 << 20
# The bytes are neither compressible nor periodic, so that a resume at a wrong byte is found.
BYTES = b"".join(hashlib.sha256(b"%d" % block).digest() for block in range(3 * MIB // 32))
FILES = {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "README.md": b"not wanted\n",
    "config.json": b'{"model_type": "sam2_video"}\n',
    "preprocessor_config.json": b'{"size": 1024}\n',
    "processor_config.json": b"{}\n",
    WEIGHTS: BYTES,
    "sam2.1_hiera_tiny.pt": b"not wanted either",
}
PATIENCE_S = 60
# The hub's library waits for a server that pauses.
PATIENT = {"HF_HUB_DOWNLOAD_TIMEOUT": str(PATIENCE_S)}
OURS = ("config.json", "preprocessor_config.json", "processor_config.json", WEIGHTS)

missing = importlib.util.find_spec("huggingface_hub") is None
hub_needed = [
    pytest.mark.hub,
    pytest.mark.skipif(
        missing, reason="there is no huggingface_hub; python -m pip install -r requirements/hub.txt"
    ),
]


def marked(test):
    for mark in hub_needed:
        test = mark(test)
    return test


def pinned(files=None, revision=COMMIT):
    """Return an entry of the catalogue with the checksums of the server's small files."""
    files = files or FILES
    return Model(
        name=NAME,
        alias="tiny",
        repo=f"facebook/{NAME}",
        revision=revision,
        licence="Apache-2.0",
        wanted=OURS,
        needed=("config.json", WEIGHTS),
        files=tuple(
            ModelFile(
                name=name, size=len(files[name]), sha256=hashlib.sha256(files[name]).hexdigest()
            )
            for name in OURS
        ),
    )


SMALL_CATALOGUE = (
    "from deep_perception.checkpoints import catalog, transfer\n"
    "from deep_perception.checkpoints.catalog import Model, ModelFile\n"
    "from deep_perception.cli import models\n"
    f"catalog.CATALOGUE = models.CATALOGUE = ({pinned()!r},)\n"
    "transfer.PAUSE_S, transfer.RETRIES = 0.1, 1\n"
)


def command(*arguments, catalogue=True):
    """The command line of a process of its own.

    With ``catalogue`` the small catalogue replaces the true one.
    """
    if not catalogue:
        return [sys.executable, "-m", "deep_perception", "models", *map(str, arguments)]
    code = (
        f"{SMALL_CATALOGUE}from deep_perception.cli.main import main; import sys; sys.exit(main())"
    )
    return [sys.executable, "-c", code, "models", *map(str, arguments)]


def environment(url, tmp_path, **more):
    kept = {name: os.environ[name] for name in ("PATH", "SYSTEMROOT") if name in os.environ}
    proxies = {"NO_PROXY": "*"}
    return (
        kept
        | proxies
        | {"PYTHONPATH": str(ROOT), "HOME": str(tmp_path), "HF_ENDPOINT": url}
        | {"HF_HUB_ETAG_TIMEOUT": "1", "HF_HUB_DOWNLOAD_TIMEOUT": "1"}
        | more
    )


class User:
    """A user at a shell in an empty folder."""

    def __init__(self, url, tmp_path):
        self.url, self.home = url, tmp_path
        self.folder = tmp_path / "checkpoints"
        self.path = self.folder / NAME

    def start(self, *arguments, catalogue=True, env=None, before=""):
        return forked_cli(
            ["models", *arguments],
            cwd=self.home,
            env=environment(self.url, self.home, **(env or {})),
            before=(SMALL_CATALOGUE if catalogue else "") + before,
        )

    def run(self, *arguments, **more):
        process = self.start(*arguments, **more)
        process.communicate(timeout=60)
        return process

    def state(self):
        (found,) = json.loads(self.run("list", "--json").out)
        return found["state"]

    def parts(self):
        return sorted(self.path.glob("*.part"))


def failed_in_one_line(process, *words):
    assert process.returncode == 2
    assert process.out == ""
    (line,) = process.err.splitlines()
    assert line.startswith("deep_perception: ")
    for word in words:
        assert re.search(word, line), line
    return True


def is_whole(path):
    return all((path / name).read_bytes() == FILES[name] for name in OURS)


def put(path, files):
    path.mkdir(parents=True)
    for name in files:
        (path / name).write_bytes(FILES[name])


def wait_for_bytes(user, least):
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        for part in user.parts():
            if WEIGHTS in part.name and part.stat().st_size >= least:
                return
        time.sleep(0.02)
    raise AssertionError("the download makes no progress")
