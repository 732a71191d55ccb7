"""Scenes of photographs and the datasets that are exported from them."""

import shutil
from pathlib import Path

import pytest

from deep_perception.replay.datasets import EXPORTS, export
from support.datasets import Scenes
from support.photograph_scenes import FRONT, REAR, Photographed


@pytest.fixture(scope="session")
def recordings():
    return {
        "drive": Photographed({FRONT: ["astronaut", "coffee"], REAR: ["rocket"]}),
        "Fahrt 2.5": Photographed({FRONT: ["chelsea"]}),
    }


@pytest.fixture(scope="session")
def scenes(recordings):
    return Scenes(recordings)


@pytest.fixture(scope="session")
def made(scenes, tmp_path_factory):
    """All datasets of all scenes."""
    folder = tmp_path_factory.mktemp("made")
    export(list(EXPORTS), folder, scenes)
    return folder


@pytest.fixture
def copied(made, tmp_path):
    """The datasets, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "copied"))
