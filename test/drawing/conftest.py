"""A folder of fonts in place of those of the system."""

import pytest

from deep_perception.drawing import fonts
from support.fonts import forget_fonts


@pytest.fixture
def font_folder(tmp_path, monkeypatch):
    """The only folder of the system that has fonts; it is empty at first."""
    folder = tmp_path / "data" / "fonts"
    (folder / "deeper").mkdir(parents=True)
    monkeypatch.setattr(fonts, "font_folders", lambda: [folder])
    forget_fonts()
    yield folder
    forget_fonts()
