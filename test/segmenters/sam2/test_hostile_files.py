"""Checkpoints of others: what they name is not run, and invented sizes are not allocated."""

import json
import shutil
import zipfile

import pytest

HINT = "run with: python -m pip install -r requirements/sam2.txt"
torch = pytest.importorskip("torch", reason=f"there is no torch; {HINT}")
pytest.importorskip("transformers", reason=f"there is no transformers; {HINT}")

from deep_perception.backends import BackendUnavailable  # noqa: E402
from deep_perception.segmenters.sam2 import checks, convert, weights  # noqa: E402
from deep_perception.segmenters.sam2.files import find  # noqa: E402
from deep_perception.segmenters.sam2.official import _config_name  # noqa: E402
from deep_perception.untrusted import UntrustedError  # noqa: E402

pytestmark = pytest.mark.sam2


@pytest.fixture
def copy(folder, tmp_path):
    """The folder of a model, with links to its weights."""
    path = tmp_path / "sam2.1-hiera-tiny"
    path.mkdir()
    shutil.copy(folder / "config.json", path)
    (path / "model.safetensors").symlink_to(folder / "model.safetensors")
    return path


@pytest.mark.parametrize(
    ("values", "word"),
    [
        ({"auto_map": {"AutoModel": "evil/repository--evil.Model"}}, "auto_map"),
        ({"vision_config": {"auto_map": {"AutoModel": "evil.Model"}}}, "auto_map"),
        ({"attn_implementation": "evil/kernel"}, "attn_implementation"),
        ({"_attn_implementation": "evil/kernel:run"}, "attn_implementation"),
        ({"quantization_config": {"quant_method": "x"}}, "quantization_config"),
        ({"vision_config": {"model_type": "timm_wrapper"}}, "timm_wrapper"),
        ({"model_type": "llama"}, "llama"),
        ({"transformers_weights": "../other.safetensors"}, "transformers_weights"),
        ({"image_size": 10**9}, "image_size"),
        ({"x": [[1] * 5000]}, "5000 values"),
        ({"vision_config": {"backbone_config": {"blocks_per_stage": [10**6] * 4}}}, "blocks_per"),
        ({"num_layers": 10_000}, "num_layers"),
        ({"text": "x" * 300_000}, "larger than"),
    ],
)
def test_a_hostile_configuration_is_refused(copy, values, word):
    config = json.loads((copy / "config.json").read_text())
    (copy / "config.json").write_text(json.dumps(config | values))
    with pytest.raises(BackendUnavailable, match=word):
        weights.load(str(copy), "")


def test_a_configuration_of_more_weights_than_the_files_have(copy):
    config = json.loads((copy / "config.json").read_text())
    config["mask_decoder_config"] = config.get("mask_decoder_config", {}) | {"mlp_dim": 60_000}
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(BackendUnavailable, match="and the files have"):
        weights.load(str(copy), "")


@pytest.mark.parametrize(
    "name", ["../x.safetensors", "/etc/passwd", "pytorch_model.bin", "a/b.safetensors", ""]
)
def test_an_index_names_files_of_the_folder_only(copy, name):
    (copy / "model.safetensors").unlink()
    index = copy / "model.safetensors.index.json"
    index.write_text(json.dumps({"weight_map": {"a": name}}))
    with pytest.raises(BackendUnavailable, match="json names"):
        weights.load(str(copy), "")


def test_an_adapter_and_a_pickle_are_not_loaded(copy):
    (copy / "adapter_config.json").write_text('{"base_model_name_or_path": "evil/model"}')
    with pytest.raises(BackendUnavailable, match="adapter_config"):
        weights.load(str(copy), "")
    (copy / "model.safetensors").unlink()
    (copy / "pytorch_model.bin").touch()
    with pytest.raises(BackendUnavailable, match="reads no pytorch_model"):
        find(str(copy))


def test_a_file_of_an_old_torch_is_refused(official, monkeypatch):
    for version in ("2.5.1", "2.9.1+cu126"):
        monkeypatch.setattr(torch, "__version__", version)
        with pytest.raises(UntrustedError, match=f"torch {version[:3]}.*CVE-2026-24747"):
            checks.check_pickle(official)
    monkeypatch.setattr(torch, "__version__", "2.10.0a0+nv")
    checks.check_pickle(official)


def test_a_compressed_archive_is_not_expanded(official, tmp_path):
    bomb = tmp_path / "bomb.pt"
    with zipfile.ZipFile(official) as source, zipfile.ZipFile(bomb, "w", 8) as target:
        for entry in source.namelist():
            target.writestr(entry, source.read(entry))
    with pytest.raises(BackendUnavailable, match="compressed entries"):
        weights.load(str(bomb), "")


@pytest.mark.parametrize(
    "content",
    [
        {"a": torch.zeros(1).expand(10**9)},
        {"model": {"a": torch.zeros(1, 1).expand(10**5, 10**5)}},
        {"a": torch.zeros(3).to_sparse()},
        {"a": torch.empty(10**6, device="meta")},
        {"a": 1},
        {1: torch.zeros(1)},
        [torch.zeros(1)],
    ],
)
def test_weights_that_are_larger_than_their_file(tmp_path, content):
    path = tmp_path / "large.pt"
    torch.save(content, path)
    with pytest.raises(BackendUnavailable, match="SAM2 cannot use the checkpoint"):
        weights.load(str(path), "")


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("stages: [1000000000, 2, 7, 2]", "stages"),
        ("embed_dim: 1000000000", "embed_dim"),
        ("embed_dim: -1", "embed_dim"),
        ("embed_dim: !!python/object/apply:os.system [id]", "not a configuration"),
        ("stages: &a [1, *a]", "aliases"),
        ("stages: " + "[" * 5000, "not a configuration"),
        ("x: " + "y" * 300_000, "larger than"),
    ],
)
def test_a_hostile_yaml(tmp_path, text, word):
    path = tmp_path / "a.yaml"
    path.write_text(f"model:\n  image_encoder:\n    trunk:\n      {text}\n")
    with pytest.raises(ValueError, match=word):
        convert.find_trunk(str(path), tmp_path, {})


@pytest.mark.parametrize("config", ["../../evil.yaml", "/tmp/evil.yaml", "a/../b", "file://x", "~"])
def test_metas_package_gets_names_of_its_own_configurations_only(config, tmp_path):
    with pytest.raises(ValueError, match="no name of the package"):
        _config_name(config, tmp_path / "a.pt")
    assert _config_name("configs/my.yaml", tmp_path / "a.pt") == "configs/my.yaml"


def test_a_planted_cache_and_its_draft_are_not_believed(official, tmp_path):
    path = tmp_path / official.name
    path.symlink_to(official)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    cache = path.with_suffix(weights.CACHE_SUFFIX)
    cache.write_bytes(b"\xff" * 100)
    cache.with_name(cache.name + ".part").symlink_to(mine)
    weights.load(str(path), "")
    assert mine.read_text() == "mine"
