"""SAM2 without torch: it imports quickly, and the error names the command that installs torch."""

import subprocess
import sys

import pytest

from deep_perception.analyzer import Analyzer
from deep_perception.backends import BackendUnavailable
from deep_perception.settings.options import SettingsError, settings_from


def test_importing_the_segmenter_does_not_import_torch():
    script = "import sys, deep_perception.segmenters.sam2; print('torch' in sys.modules)"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert ran.stdout.strip() == "False"


@pytest.mark.parametrize("backend", ["sam2", "sam2_official"])
def test_without_torch_the_message_names_the_command(backend, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    alone = settings_from({"segmenter.backend": backend, "segmenter.fallback": ""})
    with pytest.raises(
        BackendUnavailable, match=r"needs torch .* run `python -m pip install torch="
    ):
        Analyzer(alone)


def test_without_torch_the_fallback_is_used(monkeypatch):
    monkeypatch.setitem(sys.modules, "torch", None)
    with Analyzer(settings_from({"segmenter.backend": "sam2"})) as analyzer:
        assert "'superpixels' is used instead" in analyzer.models.warnings[0]


@pytest.mark.parametrize("side", [128, 300, 2048])
def test_sides_that_sam2_cannot_take_are_refused(side):
    expected = "a whole number from 256 to 1024 in steps of 32"
    with pytest.raises(SettingsError, match=f"image_size: {side} is not allowed; .*{expected}"):
        settings_from({"segmenter.image_size": side})
