"""A fixture of the tests of recordings."""

import pytest

from support import bags


@pytest.fixture(scope="module")
def scene():
    """A camera, and topics that are no images, one of a type that is in its bag only."""
    return bags.together(
        bags.camera(bags.moving_scene(12)), bags.words(9), bags.wheels(3), bags.words(1, "/late")
    )
