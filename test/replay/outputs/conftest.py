"""Recordings and their scenes."""

import pytest

from support import bags
from support.replay_bags import LEFT, RIGHT, look


@pytest.fixture(scope="module")
def drive(tmp_path_factory):
    """(recording of a camera, its scenes): the view changes twice."""
    path = tmp_path_factory.mktemp("drive") / "drive"
    bags.write(path, bags.together(bags.camera(bags.moving_scene(45)), bags.words(9)))
    records = look(path)
    assert 3 <= len(records) < 15 and all(each.scene.regions for each in records)
    return path, records


@pytest.fixture(scope="module")
def two_cameras(tmp_path_factory):
    path = tmp_path_factory.mktemp("cameras") / "two.bag"
    recorded = bags.together(
        bags.camera(bags.moving_scene(12, cut_every=6), LEFT),
        bags.camera(bags.moving_scene(12, cut_every=8), RIGHT, compressed_images=True),
    )
    bags.write(path, recorded, storage="ros1")
    return path, look(path)
