"""The limits that the pages name are those of the code."""

import ast
from pathlib import Path

import pytest

from deep_perception.dam_server import images as dam_images
from deep_perception.describers.prompts import LARGEST as PROMPT_BYTES
from deep_perception.describers.server import client
from deep_perception.images import pixels
from deep_perception.regions import MAX_ATTRIBUTES, MAX_LABEL, MAX_TEXT, MAX_VALUE
from deep_perception.replay.recordings import storage
from deep_perception.replay.recordings.storage import packing
from deep_perception.settings import yaml_text
from deep_perception.stamps import MAX_FRAME_ID
from deep_perception.untrusted import json_reader
from deep_perception.untrusted.text import QUOTED

ROOT = Path(__file__).parents[2]
MB = 2**20
MEGAPIXELS = pixels.MAX_MESSAGE_PIXELS // 10**6
FILE_MEGAPIXELS = pixels.MAX_PIXELS // 10**6


def constant(module, name):
    """A constant of a module that needs ROS or the libraries of the DAM server."""
    tree = ast.parse((ROOT / "deep_perception" / module).read_text(encoding="utf-8"))
    assigned = {ast.unparse(node.targets[0]): node.value for node in tree.body
                if isinstance(node, ast.Assign)}  # fmt: skip
    return eval(compile(ast.Expression(assigned[name]), module, "eval"))


BODY_MB = constant("dam_server/arrivals.py", "MAX_BODY") // MB
BODY_S = constant("dam_server/arrivals.py", "BODY_S")
NAMES = constant("ros/parameters.py", "MOST_NAMES")


@pytest.mark.parametrize(
    ("page", "sentence"),
    [
        ("docs/security.md", f"images of at most {MEGAPIXELS} megapixels"),
        ("docs/security.md", f"Images (at most {FILE_MEGAPIXELS} megapixels)"),
        ("docs/security.md", f"a request to a parameter service has at most {NAMES} names"),
        ("docs/security.md", f"Of an answer {client.ANSWER_BYTES // MB} MB is read"),
        ("docs/security.md", f"quoted text to {QUOTED} characters, a description to {MAX_TEXT:,})"),
        (
            "docs/security.md",
            f"a request may have {BODY_MB} MB, take {BODY_S:.0f} s and hold "
            f"{dam_images.MAX_PIXELS // 10**6} megapixels",
        ),
        ("docs/quickstart.md", f"of up to {FILE_MEGAPIXELS} megapixels"),
        ("docs/quickstart.md", f"there may be fewer: {FILE_MEGAPIXELS // 2} in progressive JPEG"),
        ("docs/quickstart.md", f"{FILE_MEGAPIXELS // 3} in JPEG 2000"),
        ("docs/node.md", f"An image in a message has at most {MEGAPIXELS} megapixels"),
        ("docs/node.md", f"an image with more than {MAX_FRAME_ID} bytes of it is refused"),
        (
            "docs/node.md",
            f"A label has at most {MAX_LABEL} characters, a description {MAX_TEXT}, and a region "
            f"{MAX_ATTRIBUTES} attributes of {MAX_VALUE}.",
        ),
        (
            "docs/custom_backends.md",
            f"(label {MAX_LABEL} characters, text {MAX_TEXT}, {MAX_ATTRIBUTES} attributes of "
            f"{MAX_VALUE})",
        ),
        (
            "docs/describers.md",
            f"Of an answer {client.ANSWER_BYTES // MB} MB is read (after decompression; more for "
            "`describer.max_tokens` above "
            f"{client.ANSWER_BYTES // client.BYTES_PER_TOKEN // 1000 * 1000}), of a list of models "
            f"{client.LIST_BYTES // MB} MB, in JSON of at most {json_reader.MAX_DEPTH} levels",
        ),
        ("docs/describers.md", f"it has {client.READINESS_TIMEOUT_S:g} s more to list its models"),
        ("docs/describers.md", f"is kept for at most {client.LONGEST_PAUSE_S:g} s"),
        (
            "docs/replay.md",
            f"A message has at most {pixels.MAX_MESSAGE_BYTES // 10**6} MB and a chunk "
            f"{storage.LARGEST_CHUNK // MB} MB; all chunks of a file, or a file that is compressed "
            f"as a whole, have at most {packing.MOST_TIMES} times the size of the file (always "
            f"{packing.ALWAYS_BYTES // 2**30} GB)",
        ),
        ("docs/replay.md", f"where {packing.KEEP_FREE // MB} MB stay free"),
        (
            "CHANGELOG.rst",
            f"files of more than {yaml_text.LARGEST:,} characters or {yaml_text.DEEPEST} levels",
        ),
        ("CHANGELOG.rst", f"A prompt is a regular file of at most {PROMPT_BYTES // 1000} kB"),
    ],
)
def test_the_pages_name_the_limits_of_the_code(page, sentence):
    assert sentence in " ".join((ROOT / page).read_text(encoding="utf-8").split())


def test_the_dam_server_takes_what_the_node_sends():
    assert dam_images.MAX_PIXELS >= pixels.MAX_MESSAGE_PIXELS
