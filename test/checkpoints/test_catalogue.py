"""The catalogue of `deep_perception models`: names, pins, and the list."""

import re
import subprocess
import sys

import pytest

from deep_perception.checkpoints import catalog
from deep_perception.checkpoints.catalog import CATALOGUE, ModelError, find_model
from support.hub_user import NAME, OURS, User, environment


def test_every_pin_has_the_right_form():
    assert len({model.name for model in CATALOGUE}) == len(CATALOGUE) == 5
    pinned_ones = [model for model in CATALOGUE if model.files]
    assert len(pinned_ones) == 4
    for model in pinned_ones:
        assert re.fullmatch("[0-9a-f]{40}", model.revision)
        assert [file.name for file in model.files] == list(OURS)
        assert all(re.fullmatch("[0-9a-f]{64}", file.sha256) for file in model.files)
    assert len({file.sha256 for model in CATALOGUE for file in model.files}) == 4 * 2 + 2


@pytest.mark.parametrize("text", ["tiny", NAME, f"facebook/{NAME}"])
def test_names(text):
    assert find_model(text).name == NAME


def test_the_error_for_an_unknown_name_suggests_one():
    with pytest.raises(ModelError, match=r"did you mean sam2\.1-hiera-tiny"):
        find_model("sam2.1-heira-tiny")
    with pytest.raises(ModelError, match=r"the models are sam2\.1-hiera-tiny, "):
        find_model("../..")


@pytest.mark.parametrize(
    ("checkpoint", "size"),
    [
        ("checkpoints/sam2.1_hiera_large.pt", "large"),
        ("sam2.1_hiera_b+.yaml", "base-plus"),
        ("checkpoints/sam2.1-hiera-base-plus", "base-plus"),
        ("facebook/sam2-hiera-small", "small"),
        ("/mnt/large/sam2.1_hiera_tiny.pt", "tiny"),
        ("", "tiny"),
    ],
)
def test_the_command_for_a_missing_checkpoint(checkpoint, size):
    wanted = f"deep_perception models fetch sam2.1-hiera-{size}"
    assert catalog.fetch_command(checkpoint) == wanted


def test_the_true_catalogue_is_listed(tmp_path):
    user = User("http://127.0.0.1:1", tmp_path)
    done = user.run("list", catalogue=False)
    head, *rows = done.out.splitlines()
    assert head.split() == ["NAME", "SIZE", "ON", "DISK", "LICENCE", "WHERE"]
    assert [row.split()[3] for row in rows[:4]] == ["absent"] * 4
    assert rows[3].split()[:3] == ["sam2.1-hiera-large", "898", "MB"]
    assert list(tmp_path.iterdir()) == []


def test_listing_loads_no_hub_library(tmp_path):
    code = "from deep_perception.cli.main import main; import sys; main(['models', 'list']); "
    code += "sys.exit(any(n in sys.modules for n in ('huggingface_hub', 'httpx2', 'numpy')))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=environment("", tmp_path),
        stdout=subprocess.DEVNULL,
        check=False,
    )
    assert done.returncode == 0
