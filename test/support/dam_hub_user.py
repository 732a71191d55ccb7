"""A user of the real catalogue who downloads DAM: its files, with a licence and sub-folders."""

import json

from deep_perception.checkpoints.catalog import DAM
from deep_perception.checkpoints.record import LOCK
from support.hub_user import BYTES, MIB, User

NAME = "DAM-3B-Self-Contained"
SHARDS = ("llm/model-00001-of-00002.safetensors", "llm/model-00002-of-00002.safetensors")
# The names are those of DAM's files, the contents are not.
WANTED = {
    "LICENSE": b"NVIDIA Noncommercial License\n",
    "README.md": b"# DAM\n",
    "config.json": b'{"model_type": "llava_llama"}\n',
    "llava_llama.py": b"class LlavaLlamaModel: pass\n",
    "context_provider/config.json": b"{}\n",
    "context_provider/model.safetensors": BYTES[:40_000],
    "llm/config.json": b'{"model_type": "llama"}\n',
    "llm/model.safetensors.index.json": b'{"weight_map": {}}\n',
    "llm/tokenizer.model": b"\x0a\x0e",
    SHARDS[0]: BYTES[:MIB],
    SHARDS[1]: BYTES[MIB:],
    "mm_projector/model.safetensors": BYTES[:30_000],
    "vision_tower/model.safetensors": BYTES[:50_000],
}
FILES = WANTED | {
    ".gitattributes": b"*.safetensors filter=lfs\n",
    "assets/demo.gif": b"GIF89a",
    "llm/pytorch_model.bin": b"not wanted: a pickle",
}


class Somebody(User):
    """A user of the real catalogue."""

    def __init__(self, url, tmp_path):
        super().__init__(url, tmp_path)
        self.path = self.folder / NAME

    def start(self, *arguments, **more):
        return super().start(*arguments, catalogue=False, **more)

    def fetch(self, *arguments, **more):
        return self.run("fetch", "dam", "--accept-licence", *arguments, **more)

    def fetch_quietly(self):
        """Fetch with the licence accepted, and remove its text from the output."""
        done = self.fetch()
        assert done.err.startswith(DAM.terms)
        done.err = done.err.removeprefix(DAM.terms + "\n")
        return done

    def state(self):
        (found,) = [
            item for item in json.loads(self.run("list", "--json").out) if item["name"] == NAME
        ]
        return found["state"]

    def parts(self):
        return sorted(self.path.rglob("*.part"))

    def files(self):
        found = {
            entry.relative_to(self.path).as_posix(): entry.read_bytes()
            for entry in self.path.rglob("*")
            if entry.is_file()
        }
        return {name: data for name, data in found.items() if name not in (LOCK, ".fetching.lock")}
