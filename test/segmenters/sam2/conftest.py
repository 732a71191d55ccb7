"""SAM2 with real architecture, files and code; only the weights are random, from a seed."""

from pathlib import Path

import pytest

from deep_perception import images
from support.sam2_models import official_state, sam2_settings

DATA = Path(__file__).parents[2] / "data"


@pytest.fixture(scope="package")
def model():
    """A transformers Sam2Model (tiny) with random weights."""
    import transformers

    from synthetic.sam2_checkpoint import random_model

    return random_model(transformers.Sam2Config())


@pytest.fixture(scope="package")
def folder(model, tmp_path_factory):
    """The model as transformers saves it and `models fetch` downloads it."""
    path = tmp_path_factory.mktemp("checkpoints") / "sam2.1-hiera-tiny"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="package")
def official(model, tmp_path_factory):
    """The model as Meta publishes it, with a weight that only videos need."""
    import torch

    path = tmp_path_factory.mktemp("official") / "sam2.1_hiera_tiny.pt"
    state = official_state(model.state_dict())
    torch.save({"model": {**state, "maskmem_tpos_enc": torch.zeros(7, 1, 1, 64)}}, path)
    return path


@pytest.fixture(scope="package")
def segmenter(folder):
    """The segmenter of the model at 256 px on the CPU."""
    from deep_perception.segmenters.sam2 import Sam2

    return Sam2(settings=sam2_settings(folder))


@pytest.fixture(scope="package")
def photograph():
    """A photograph of 320x213 pixels."""
    return images.shrink(images.load(DATA / "coffee.jpg"), 320, 240)
