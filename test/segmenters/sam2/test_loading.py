"""Checkpoints of SAM2: where they are found, their conversion, and errors of broken ones."""

import os
import pickle
from pathlib import Path

import numpy as np
import pytest

HINT = "run with: python -m pip install -r requirements/sam2.txt"
torch = pytest.importorskip("torch", reason=f"there is no torch; {HINT}")
transformers = pytest.importorskip("transformers", reason=f"there is no transformers; {HINT}")

from deep_perception import images  # noqa: E402
from deep_perception.analyzer import Analyzer  # noqa: E402
from deep_perception.backends import BackendUnavailable  # noqa: E402
from deep_perception.segmenters.sam2 import Sam2, convert, weights  # noqa: E402
from deep_perception.segmenters.sam2.files import find  # noqa: E402
from deep_perception.settings.options import settings_from  # noqa: E402
from support.sam2_models import POINTS, sam2_settings  # noqa: E402
from synthetic.sam2_checkpoint import random_state  # noqa: E402

pytestmark = pytest.mark.sam2
DATA = Path(__file__).parents[2] / "data"


@pytest.mark.parametrize("config", ["", "configs/sam2.1/sam2.1_hiera_t.yaml", "own.yaml"])
def test_metas_checkpoint_and_config_give_the_masks_of_the_folder(
    official, segmenter, photograph, config
):
    (official.parent / "own.yaml").write_text(
        "model:\n  image_encoder:\n    trunk:\n      embed_dim: 96\n      stages: [1, 2, 7, 2]\n"
        "      global_att_blocks: [5, 7, 9]\n      window_pos_embed_bkg_spatial_size: [7, 7]\n"
    )
    converted = Sam2(settings=sam2_settings(official, config=config))
    assert converted.model == "sam2.1_hiera_tiny.pt"
    masks, scores = converted.masks(converted.embed(photograph), POINTS)
    expected, expected_scores = segmenter.masks(segmenter.embed(photograph), POINTS)
    # The last bit of a product depends on the memory alignment of the weights.
    assert (masks != expected).mean() < 1e-4
    assert np.abs(scores - expected_scores).max() < 1e-5


def test_the_conversion_is_cached_until_the_file_changes(official, monkeypatch):
    weights.load(str(official), "")
    cache = official.with_suffix(weights.CACHE_SUFFIX)
    read, calls = torch.load, []
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append(a) or read(*a, **k))
    weights.load(str(official), "")
    assert not calls, "the cache was not used"
    os.utime(official, ns=(1, 1))
    weights.load(str(official), "")
    assert len(calls) == 1
    cache.write_bytes(cache.read_bytes()[:1000])
    weights.load(str(official), "")
    assert len(calls) == 2
    assert not list(official.parent.glob("*.part"))


def test_without_a_writable_folder_the_checkpoint_still_loads(official, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    copy = tmp_path / official.name
    copy.write_bytes(official.read_bytes())
    monkeypatch.setattr(weights, "save_file", full)
    _, name = weights.load(str(copy), "")
    assert name == official.name
    assert [each.name for each in tmp_path.iterdir()] == [official.name]


def test_a_video_checkpoint_as_on_the_hub_loads(model, tmp_path, segmenter, photograph):
    """facebook/sam2.1-hiera-tiny says model_type sam2_video and has the memory's weights, too."""
    video = transformers.Sam2VideoModel(transformers.Sam2VideoConfig())
    video.load_state_dict(model.state_dict(), strict=False)
    video.save_pretrained(tmp_path / "sam2.1-hiera-tiny")
    ours = Sam2(settings=sam2_settings(tmp_path / "sam2.1-hiera-tiny"))
    masks, _ = ours.masks(ours.embed(photograph), POINTS)
    expected, _ = segmenter.masks(segmenter.embed(photograph), POINTS)
    assert (masks != expected).mean() < 1e-4


def test_a_missing_checkpoint_falls_back_and_names_the_command(tmp_path):
    missing = tmp_path / "sam2.1_hiera_large.pt"
    chosen = settings_from({"segmenter.backend": "sam2", "segmenter.checkpoint": str(missing)})
    with Analyzer(chosen) as analyzer:
        scene = analyzer.analyze(images.load(DATA / "chelsea.jpg"))
    assert scene.segmenter == "superpixels"
    assert scene.regions
    (warning,) = scene.warnings
    assert str(missing) in warning
    assert "deep_perception models fetch sam2.1-hiera-large" in warning
    assert "'superpixels' is used instead" in warning


def test_the_fetched_folder_replaces_a_missing_pt_file(tmp_path):
    fetched = tmp_path / "sam2.1-hiera-large"
    fetched.mkdir()
    (fetched / "model.safetensors").touch()
    assert find(str(tmp_path / "sam2.1_hiera_large.pt")) == fetched
    assert find(str(fetched / "model.safetensors")) == fetched


def test_a_hub_id_is_searched_on_disk_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("facebook/sam2.1-hiera-tiny") is None
    here = tmp_path / "checkpoints" / "sam2.1-hiera-tiny"
    here.mkdir(parents=True)
    (here / "model.safetensors").touch()
    assert find("facebook/sam2.1-hiera-tiny") == here.relative_to(tmp_path)
    with pytest.raises(BackendUnavailable, match="nothing at"):
        find("checkpoints/sam2.1-hiera-small")


def test_an_unreachable_hub_gives_a_clear_error(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackendUnavailable, match="SAM2 cannot use the checkpoint facebook/no-such"):
        weights.load("facebook/no-such-sam2", "")


class MakesFolder:
    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def save_truncated(path, source):
    path.write_bytes(source.read_bytes()[:5000])


def save_broken_folder(path, source):
    path.mkdir()
    (path / "config.json").write_bytes((source / "config.json").read_bytes())
    (path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:5000])


def save_folder_without_decoder(path, source):
    """Save the weights of the encoder only."""
    state = transformers.Sam2Model.from_pretrained(source).state_dict()
    kept = {name: tensor for name, tensor in state.items() if "mask_decoder" not in name}
    transformers.Sam2Config().save_pretrained(path)
    from safetensors.torch import save_file

    save_file(kept, path / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("cut.pt", lambda path, pt, _: save_truncated(path, pt), "checkpoint"),
        ("empty.pt", lambda path, *_: path.touch(), "checkpoint"),
        ("noise.pt", lambda path, *_: path.write_bytes(b"not a checkpoint" * 99), "checkpoint"),
        (
            "other.pt",
            lambda path, *_: torch.save({"model": {"a": torch.ones(1)}}, path),
            "checkpoint",
        ),
        (
            "evil.pt",
            lambda path, *_: path.write_bytes(pickle.dumps(MakesFolder(), 2)),
            "weights.only",
        ),
        ("folder", lambda path, _, folder: save_broken_folder(path, folder), "checkpoint"),
        (
            "part",
            lambda path, _, folder: save_folder_without_decoder(path, folder),
            "weights of SAM2 are missing",
        ),
    ],
)
def test_a_broken_checkpoint_gives_an_error_of_one_line(
    tmp_path, monkeypatch, official, folder, name, make, message
):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name, official, folder)
    with pytest.raises(BackendUnavailable, match=message) as raised:
        weights.load(str(tmp_path / name), "")
    assert str(raised.value).startswith(f"SAM2 cannot use the checkpoint {tmp_path / name}: ")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "pwned").exists(), "the checkpoint ran code"


@pytest.mark.parametrize("config", ["sam2.1_hiera_l.yaml", "no_such.yaml", "README.yaml"])
def test_a_config_of_another_architecture_gives_a_clear_error(official, config):
    (official.parent / "README.yaml").write_text("just: words\n")
    with pytest.raises(BackendUnavailable, match="SAM2 cannot use the checkpoint"):
        weights.load(str(official), config)


def test_random_weights_are_the_same_on_every_machine(model):
    """The numbers in `sam2_parity.npz` are only valid for exactly these weights."""
    state = random_state({"a.weight": torch.empty(2, 3), "a.layer_norm.weight": torch.empty(2)})
    expected = [0.8278806, 0.6209854, 0.2735049, 0.3299395, 0.2199098, -0.3912463]
    assert state["a.weight"].flatten().tolist() == pytest.approx(expected, abs=1e-6)
    both = ("shared_image_embedding", "prompt_encoder.shared_embedding")
    first, second = (model.state_dict()[f"{name}.positional_embedding"] for name in both)
    assert torch.equal(first, second)


def test_the_architecture_of_every_size_is_known(tmp_path):
    """Widths and blocks as in the official YAML files (checked against them when this was made)."""
    parameters = {}
    for size in convert.TRUNKS:
        trunk = convert.find_trunk(f"sam2.1_hiera_{size}.yaml", tmp_path, {})
        with torch.device("meta"):
            model = transformers.Sam2Model(convert.to_config(trunk))
        assert convert.find_trunk("", tmp_path, model.state_dict()) == trunk
        parameters[size] = sum(each.numel() for each in model.vision_encoder.parameters())
    millions = {size: round(count / 1e6) for size, count in parameters.items()}
    assert millions == {"t": 27, "s": 34, "b+": 69, "l": 213}
