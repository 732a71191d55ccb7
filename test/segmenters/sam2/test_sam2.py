"""SAM2 with real architecture, files and code paths; only the weights are random (from a seed).

`data/sam2_parity.npz` holds a picture, points, and what Meta's own code (facebookresearch/sam2 at
2b90b9f, `add_new_points_or_box` on frame 0) gave for them with the same weights.
"""

import importlib.util
import os
import pickle
import re
from pathlib import Path

import cv2
import numpy as np
import pytest

HINT = "run with: python -m pip install -r requirements/sam2.txt"
torch = pytest.importorskip("torch", reason=f"there is no torch; {HINT}")
transformers = pytest.importorskip("transformers", reason=f"there is no transformers; {HINT}")

from deep_perception import images  # noqa: E402
from deep_perception.analyzer import Analyzer  # noqa: E402
from deep_perception.backends import BackendUnavailable  # noqa: E402
from deep_perception.masks import Size  # noqa: E402
from deep_perception.points import propose  # noqa: E402
from deep_perception.segmenters import sam2_convert, sam2_masks, sam2_weights  # noqa: E402
from deep_perception.segmenters.sam2 import Sam2, Sam2Official  # noqa: E402
from deep_perception.segmenters.sam2.decoder import Decoder  # noqa: E402
from deep_perception.segmenters.sam2.device import pick_device  # noqa: E402
from deep_perception.segmenters.sam2.encoder import normalise, resize  # noqa: E402
from deep_perception.segmenters.sam2.files import find  # noqa: E402
from deep_perception.settings import PointSettings, SweepSettings  # noqa: E402
from deep_perception.settings.options import settings_from  # noqa: E402
from deep_perception.sweep import Sweep  # noqa: E402
from synthetic.sam2_checkpoint import random_model, random_state  # noqa: E402

pytestmark = pytest.mark.sam2
DATA = Path(__file__).parents[2] / "data"
SIDE = 256
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def model():
    return random_model(transformers.Sam2Config())


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    """As transformers saves it and `models fetch` gets it."""
    path = tmp_path_factory.mktemp("checkpoints") / "sam2.1-hiera-tiny"
    model.save_pretrained(path)
    return path


@pytest.fixture(scope="module")
def official(model, tmp_path_factory):
    """As Meta publishes it, with a weight that only videos need."""
    path = tmp_path_factory.mktemp("official") / "sam2.1_hiera_tiny.pt"
    state = official_state(model.state_dict())
    torch.save({"model": {**state, "maskmem_tpos_enc": torch.zeros(7, 1, 1, 64)}}, path)
    return path


def official_state(state):
    """transformers' weights under Meta's names: the inverse of the key map, written by itself."""
    heads = {"proj_in": "layers.0", "layers.0": "layers.1", "proj_out": "layers.2"}
    parts = {
        "mask_embed.conv1": "mask_downscaling.0", "mask_embed.layer_norm1": "mask_downscaling.1",
        "mask_embed.conv2": "mask_downscaling.3", "mask_embed.layer_norm2": "mask_downscaling.4",
        "mask_embed.conv3": "mask_downscaling.6", "upscale_conv1": "output_upscaling.0",
        "upscale_layer_norm": "output_upscaling.1", "upscale_conv2": "output_upscaling.3",
        "no_memory_embedding": "no_mem_embed", "vision_encoder.backbone": "image_encoder.trunk",
        "patch_embed.projection": "patch_embed.proj", "o_proj": "out_proj",
        "mlp.proj_in": "mlp.layers.0", "mlp.proj_out": "mlp.layers.1", "layer_norm": "norm",
        "shared_embedding.positional_embedding": "pe_layer.positional_encoding_gaussian_matrix",
    }  # fmt: skip
    found = {}
    for name, tensor in state.items():
        if name.startswith("shared_image_embedding"):
            continue
        if name == "prompt_encoder.point_embed.weight":
            for label in range(4):
                key = f"sam_prompt_encoder.point_embeddings.{label}.weight"
                found[key] = tensor[label : label + 1].clone()
            continue
        for ours, theirs in parts.items():
            name = name.replace(ours, theirs)
        name = re.sub(
            r"vision_encoder\.neck\.convs\.(\d)", r"image_encoder.neck.convs.\1.conv", name
        )
        for ours, theirs in heads.items():
            inside = rf"(_mlps\.\d|_head)\.{re.escape(ours)}\.(weight|bias)$"
            if re.search(inside, name):
                name = re.sub(inside, rf"\1.{theirs}.\2", name)
                break
        name = re.sub(r"^(prompt_encoder|mask_decoder)", r"sam_\1", name)
        found[name] = tensor
    return found


def settings(checkpoint, **changes):
    small = {"checkpoint": str(checkpoint), "device": "cpu", "image_size": SIDE}
    return settings_from({f"segmenter.{name}": v for name, v in {**small, **changes}.items()})


@pytest.fixture(scope="module")
def segmenter(folder):
    return Sam2(settings=settings(folder))


@pytest.fixture(scope="module")
def frozen():
    return np.load(DATA / "sam2_parity.npz")


@pytest.fixture(scope="module")
def photograph():
    return images.shrink(images.load(DATA / "coffee.jpg"), 320, 240)


POINTS = np.array([[40, 30], [160, 100], [300, 200], [5, 200], [220, 60]])


# -- the same masks as Meta's code -------------------------------------------------------------


@pytest.mark.parametrize("side", [256, 1024])
def test_masks_are_those_of_metas_code(folder, frozen, side):
    picture, points = frozen["picture"], frozen[f"points_{side}"]
    height, width = picture.shape[:2]
    segmenter = Sam2(settings=settings(folder, image_size=side))
    embedding = segmenter.embed(picture)
    masks, scores = segmenter.masks(embedding, points)
    expected = np.unpackbits(frozen[f"masks_{side}"], axis=1, count=height * width)
    # Pixels that rounding may turn: none of these pictures has more than a handful.
    different = masks.reshape(len(points), -1) != expected
    assert different.sum() <= 2e-5 * different.size
    assert np.abs(scores - frozen[f"quality_{side}"].max(1)).max() < TOLERANCE

    places = points.astype(np.float32) / np.array([width, height], np.float32) * side
    decoded = segmenter._engine.decode(embedding.features, places, all_masks=False)
    assert np.array_equal(decoded.present.numpy(), frozen[f"object_{side}"] > 0)
    reference = frozen[f"logits_{side}"]
    stride = side // 4 // reference.shape[-1]
    ours = decoded.logits[:, 0, ::stride, ::stride].numpy()
    present = decoded.present.numpy()
    assert np.abs(ours - reference)[present].max() < TOLERANCE
    assert (reference[~present] == -1024).all()
    assert not masks[~present].any()
    assert present.any()
    assert not present.all()


def test_the_trimmed_decoder_equals_transformers(model):
    """All three masks and qualities, for many points at once, at another side than 1024."""
    side, generator = 512, torch.Generator().manual_seed(0)
    config = transformers.Sam2Config()
    config.prompt_encoder_config.image_size = side
    config.vision_config.backbone_feature_sizes = [[128, 128], [64, 64], [32, 32]]
    whole = transformers.Sam2Model(config).eval()
    whole.load_state_dict(model.state_dict())
    shapes = ((1, 32, 128, 128), (1, 64, 64, 64), (1, 256, 32, 32))
    features = [torch.randn(shape, generator=generator) for shape in shapes]
    points = torch.rand(7, 2, generator=generator) * side
    with torch.inference_mode():
        expected = whole(
            image_embeddings=features,
            input_points=points[None, :, None],
            input_labels=torch.ones(1, 7, 1, dtype=torch.int32),
            multimask_output=True,
        )
        decoder = Decoder(model)
        last = [feature[0].permute(1, 2, 0) for feature in features[::-1]]
        ours = decoder.decode(decoder.prepare(*last), (points + 0.5) / side, all_masks=True)
    assert (ours.logits - expected.pred_masks[0]).abs().max() < TOLERANCE
    assert (ours.quality - expected.iou_scores[0]).abs().max() < 1e-4
    assert torch.equal(ours.present, expected.object_score_logits[0, :, 0] > 0)


@pytest.mark.by_hand
def test_official_package_gives_the_same_masks(official, segmenter, photograph, tmp_path):
    build = pytest.importorskip("sam2.build_sam", reason="Meta's package sam2 is not installed")
    name = "configs/sam2.1/sam2.1_hiera_t.yaml"
    # Meta's code insists on the weights for videos, too.
    everything = build.build_sam2(name, None, device="cpu").state_dict()
    everything.update(torch.load(official, weights_only=True)["model"])
    whole = tmp_path / official.name
    torch.save({"model": everything}, whole)
    expected, expected_scores = segmenter.masks(segmenter.embed(photograph), POINTS)
    for config in ("", name):
        theirs = Sam2Official(settings=settings(whole, config=config))
        masks, scores = theirs.masks(theirs.embed(photograph), POINTS)
        assert (masks != expected).mean() < 1e-4
        assert np.abs(scores - expected_scores).max() < 1e-4


@pytest.mark.skipif(importlib.util.find_spec("sam2") is not None, reason="sam2 is installed")
def test_without_the_official_package_the_message_says_so(official):
    with pytest.raises(BackendUnavailable, match="needs Meta's package sam2"):
        Sam2Official(settings=settings(official))


# -- loading -------------------------------------------------------------------------------------


@pytest.mark.parametrize("config", ["", "configs/sam2.1/sam2.1_hiera_t.yaml", "own.yaml"])
def test_metas_pair_gives_the_masks_of_the_folder(official, segmenter, photograph, config):
    (official.parent / "own.yaml").write_text(
        "model:\n  image_encoder:\n    trunk:\n      embed_dim: 96\n      stages: [1, 2, 7, 2]\n"
        "      global_att_blocks: [5, 7, 9]\n      window_pos_embed_bkg_spatial_size: [7, 7]\n"
    )
    converted = Sam2(settings=settings(official, config=config))
    assert converted.model == "sam2.1_hiera_tiny.pt"
    masks, scores = converted.masks(converted.embed(photograph), POINTS)
    expected, expected_scores = segmenter.masks(segmenter.embed(photograph), POINTS)
    # The last bit of a product depends on where in memory the weights lie.
    assert (masks != expected).mean() < 1e-4
    assert np.abs(scores - expected_scores).max() < 1e-5


def test_the_conversion_is_kept_and_made_again_when_the_file_changes(official, monkeypatch):
    sam2_weights.load(str(official), "")
    cache = official.with_suffix(sam2_weights.CACHE_SUFFIX)
    read, calls = torch.load, []
    monkeypatch.setattr(torch, "load", lambda *a, **k: calls.append(a) or read(*a, **k))
    sam2_weights.load(str(official), "")
    assert not calls, "the cache was not used"
    os.utime(official, ns=(1, 1))
    sam2_weights.load(str(official), "")
    assert len(calls) == 1
    cache.write_bytes(cache.read_bytes()[:1000])
    sam2_weights.load(str(official), "")
    assert len(calls) == 2
    assert not list(official.parent.glob("*.part"))


def test_a_folder_that_cannot_be_written_costs_only_the_cache(official, tmp_path, monkeypatch):
    def full(*_):
        raise OSError("no space left on device")

    copy = tmp_path / official.name
    copy.write_bytes(official.read_bytes())
    monkeypatch.setattr(sam2_weights, "save_file", full)
    _, name = sam2_weights.load(str(copy), "")
    assert name == official.name
    assert [each.name for each in tmp_path.iterdir()] == [official.name]


def test_a_video_checkpoint_as_on_the_hub_loads(model, tmp_path, segmenter, photograph):
    """facebook/sam2.1-hiera-tiny says model_type sam2_video and has the memory's weights, too."""
    video = transformers.Sam2VideoModel(transformers.Sam2VideoConfig())
    video.load_state_dict(model.state_dict(), strict=False)
    video.save_pretrained(tmp_path / "sam2.1-hiera-tiny")
    ours = Sam2(settings=settings(tmp_path / "sam2.1-hiera-tiny"))
    masks, _ = ours.masks(ours.embed(photograph), POINTS)
    expected, _ = segmenter.masks(segmenter.embed(photograph), POINTS)
    assert (masks != expected).mean() < 1e-4


def test_a_missing_checkpoint_falls_back_and_says_what_to_run(tmp_path):
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


def test_what_the_command_fetches_is_found_in_place_of_the_missing_pt(tmp_path):
    fetched = tmp_path / "sam2.1-hiera-large"
    fetched.mkdir()
    (fetched / "model.safetensors").touch()
    assert find(str(tmp_path / "sam2.1_hiera_large.pt")) == fetched
    assert find(str(fetched / "model.safetensors")) == fetched


def test_a_hub_id_is_looked_for_on_disk_first(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert find("facebook/sam2.1-hiera-tiny") is None
    here = tmp_path / "checkpoints" / "sam2.1-hiera-tiny"
    here.mkdir(parents=True)
    (here / "model.safetensors").touch()
    assert find("facebook/sam2.1-hiera-tiny") == here.relative_to(tmp_path)
    with pytest.raises(BackendUnavailable, match="nothing at"):
        find("checkpoints/sam2.1-hiera-small")


def test_a_hub_that_is_not_there_is_one_clear_line(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(BackendUnavailable, match="SAM2 cannot use the checkpoint facebook/no-such"):
        sam2_weights.load("facebook/no-such-sam2", "")


class Evil:
    def __reduce__(self):
        return (os.mkdir, ("pwned",))


def truncated(path, source):
    path.write_bytes(source.read_bytes()[:5000])


def broken_folder(path, source):
    path.mkdir()
    (path / "config.json").write_bytes((source / "config.json").read_bytes())
    (path / "model.safetensors").write_bytes((source / "model.safetensors").read_bytes()[:5000])


def unfinished_folder(path, source):
    """Without a decoder, as a backbone alone would be."""
    weights = transformers.Sam2Model.from_pretrained(source).state_dict()
    kept = {name: each for name, each in weights.items() if "mask_decoder" not in name}
    transformers.Sam2Config().save_pretrained(path)
    from safetensors.torch import save_file

    save_file(kept, path / "model.safetensors", {"format": "pt"})


@pytest.mark.parametrize(
    ("name", "make", "message"),
    [
        ("cut.pt", lambda path, pt, _: truncated(path, pt), "checkpoint"),
        ("empty.pt", lambda path, *_: path.touch(), "checkpoint"),
        ("noise.pt", lambda path, *_: path.write_bytes(b"not a checkpoint" * 99), "checkpoint"),
        (
            "other.pt",
            lambda path, *_: torch.save({"model": {"a": torch.ones(1)}}, path),
            "checkpoint",
        ),
        ("evil.pt", lambda path, *_: path.write_bytes(pickle.dumps(Evil(), 2)), "weights.only"),
        ("folder", lambda path, _, folder: broken_folder(path, folder), "checkpoint"),
        (
            "part",
            lambda path, _, folder: unfinished_folder(path, folder),
            "weights of SAM2 are missing",
        ),
    ],
)
def test_a_broken_checkpoint_is_one_clear_line(
    tmp_path, monkeypatch, official, folder, name, make, message
):
    monkeypatch.chdir(tmp_path)
    make(tmp_path / name, official, folder)
    with pytest.raises(BackendUnavailable, match=message) as raised:
        sam2_weights.load(str(tmp_path / name), "")
    assert str(raised.value).startswith(f"SAM2 cannot use the checkpoint {tmp_path / name}: ")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "pwned").exists(), "the checkpoint ran code"


@pytest.mark.parametrize("config", ["sam2.1_hiera_l.yaml", "no_such.yaml", "README.yaml"])
def test_a_config_that_does_not_fit_is_named(official, config):
    (official.parent / "README.yaml").write_text("just: words\n")
    with pytest.raises(BackendUnavailable, match="SAM2 cannot use the checkpoint"):
        sam2_weights.load(str(official), config)


def test_random_weights_are_the_same_everywhere(model):
    """Their bytes, so that the frozen numbers keep their meaning."""
    state = random_state({"a.weight": torch.empty(2, 3), "a.layer_norm.weight": torch.empty(2)})
    expected = [0.8278806, 0.6209854, 0.2735049, 0.3299395, 0.2199098, -0.3912463]
    assert state["a.weight"].flatten().tolist() == pytest.approx(expected, abs=1e-6)
    both = ("shared_image_embedding", "prompt_encoder.shared_embedding")
    first, second = (model.state_dict()[f"{name}.positional_embedding"] for name in both)
    assert torch.equal(first, second)


# -- the segmenter -------------------------------------------------------------------------------


def test_regions_are_the_same_for_every_chunk_size(segmenter, photograph, monkeypatch):
    height, width = photograph.shape[:2]
    embedding = segmenter.embed(photograph)
    points = propose(photograph, PointSettings(grid_columns=6, grid_rows=5, max_contour_points=30))

    def claims(chunk_size):
        monkeypatch.setattr(segmenter, "chunk_size", chunk_size)
        sweep = Sweep(
            segmenter=segmenter,
            embedding=embedding,
            points=points,
            size=Size(width, height),
            settings=SweepSettings(),
        )
        return list(sweep)

    one_by_one = claims(1)
    assert len(one_by_one) > 3
    for chunk_size in (2, 5, 64):
        found = claims(chunk_size)
        assert [claim.point for claim in found] == [claim.point for claim in one_by_one]
        for ours, expected in zip(found, one_by_one, strict=True):
            assert np.array_equal(ours.mask, expected.mask)
            assert ours.score == expected.score


def test_decoding_together_changes_rounding_only(segmenter, photograph, monkeypatch):
    """What a GPU does: many points in one call."""
    embedding = segmenter.embed(photograph)
    alone, scores = segmenter.masks(embedding, POINTS)
    monkeypatch.setattr(segmenter, "_one_by_one", False)
    for chunk_size in (2, 16):
        monkeypatch.setattr(segmenter, "chunk_size", chunk_size)
        together, same_scores = segmenter.masks(embedding, POINTS)
        assert (together != alone).mean() < 1e-4
        assert np.abs(same_scores - scores).max() < 1e-4


def test_no_points_give_no_masks(segmenter, photograph):
    masks, scores = segmenter.masks(segmenter.embed(photograph), np.zeros((0, 2), np.int64))
    assert masks.shape == (0, *photograph.shape[:2])
    assert scores.shape == (0,)


@pytest.mark.parametrize("size", [(1, 1), (3, 200), (257, 31)])
def test_pictures_of_any_shape(segmenter, size):
    width, height = size
    picture = np.full((height, width, 3), 90, np.uint8)
    masks, scores = segmenter.masks(segmenter.embed(picture), np.array([[width - 1, height - 1]]))
    assert masks.shape == (1, height, width)
    assert masks.dtype == np.bool_
    assert 0 <= scores[0] <= 1


def test_the_side_of_the_picture_is_a_setting(folder, photograph):
    larger = Sam2(settings=settings(folder, image_size=512))
    embedding = larger.embed(photograph)
    assert embedding.side == 512
    assert embedding.features.grid == 32
    assert larger.masks(embedding, POINTS)[0].any()


def test_scales_are_the_three_masks_by_size(folder, photograph, segmenter):
    found = {}
    for scale in ("small", "medium", "large"):
        each = Sam2(settings=settings(folder, scale=scale))
        found[scale] = each.masks(each.embed(photograph), POINTS)
    best, scores = segmenter.masks(segmenter.embed(photograph), POINTS)
    areas = np.array([masks.sum((1, 2)) for masks, _ in found.values()])
    assert (np.diff(areas, axis=0) >= -2).all()
    assert (areas[0] < areas[2]).any()
    qualities = np.array([each for _, each in found.values()])
    assert np.abs(qualities.max(0) - scores).max() < 1e-5
    for index, winner in enumerate(qualities.argmax(0)):
        assert (list(found.values())[winner][0][index] != best[index]).mean() < 1e-4


def test_clean_up_is_applied(folder, photograph, segmenter):
    tidy = Sam2(settings=settings(folder, largest_component=True, fill_holes_area=50))
    masks, _ = tidy.masks(tidy.embed(photograph), POINTS)
    raw, _ = segmenter.masks(segmenter.embed(photograph), POINTS)
    for mask in masks:
        assert cv2.connectedComponents(mask.astype(np.uint8), connectivity=8)[0] <= 2
    assert (masks != raw).any()


def test_opencv_upsamples_as_torch_does():
    logits = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for height, width in ((100, 150), (64, 64), (33, 20), (480, 640)):
        large = torch.nn.functional.interpolate(
            logits[None], (height, width), mode="bilinear", align_corners=False
        )[0]
        ours = sam2_masks.above_zero(logits, height, width)
        assert (large.abs()[torch.from_numpy(ours) != (large > 0)] < 1e-4).all()


@pytest.mark.parametrize("length", [1, 8, 13, 64])
def test_bits_are_packed_as_numpy_does(length):
    bits = torch.rand(3, length, generator=torch.Generator().manual_seed(0)) > 0.5
    assert np.array_equal(sam2_masks.pack(bits).numpy(), np.packbits(bits.numpy(), axis=1))


def test_a_photograph_from_end_to_end(folder):
    chosen = settings_from(
        {
            "segmenter.backend": "sam2",
            "segmenter.checkpoint": str(folder),
            "segmenter.device": "cpu",
            "segmenter.image_size": SIDE,
            "sweep.max_width": 320,
        }
    )
    with Analyzer(chosen) as analyzer:
        picture = images.load(DATA / "astronaut.jpg")
        scene = analyzer.analyze(picture)
        again = analyzer.analyze(picture)
    assert (scene.segmenter, scene.segmenter_model) == ("sam2", "sam2.1-hiera-tiny")
    assert scene.warnings == ()
    assert scene.regions
    assert all(0 <= region.score <= 1 for region in scene.regions)
    assert len(scene.regions) == len(again.regions)
    for first, second in zip(scene.regions, again.regions, strict=True):
        assert np.array_equal(first.mask, second.mask)


def test_a_closed_segmenter_says_so(folder, photograph):
    closed = Sam2(settings=settings(folder))
    closed.close()
    closed.close()
    with pytest.raises(BackendUnavailable, match="'sam2' is closed"):
        closed.embed(photograph)


# -- devices and memory --------------------------------------------------------------------------


def test_devices():
    assert pick_device("cpu").type == "cpu"
    assert pick_device("auto").type in ("cpu", "cuda", "mps")
    with pytest.raises(BackendUnavailable, match="none of auto, cpu, cuda"):
        pick_device("gpu")
    with pytest.raises(BackendUnavailable, match="'cuda:99' is not there"):
        pick_device("cuda:99")


class Cramped:
    """An engine that runs out of memory above a side or a number of points."""

    def __init__(self, engine, most_points=10**6, largest_side=1024):
        self.engine, self.most_points, self.largest_side = engine, most_points, largest_side

    def embed(self, rgb):
        if rgb.shape[0] > self.largest_side:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return self.engine.embed(rgb)

    def decode(self, features, points, *, all_masks):
        if len(points) > self.most_points or features.grid * 16 > self.largest_side:
            raise RuntimeError("MPS backend out of memory (allocated: 1 GB)")
        return self.engine.decode(features, points, all_masks=all_masks)


@pytest.fixture
def cramped(folder):
    """A segmenter that decodes in chunks of 8, as on a GPU, at 512 px."""
    segmenter = Sam2(settings=settings(folder, image_size=512, chunk_size=8))
    segmenter._one_by_one = False
    segmenter._engine = Cramped(segmenter._engine)
    return segmenter


def test_too_many_points_for_the_memory_are_decoded_in_smaller_chunks(cramped, photograph, caplog):
    points = np.repeat(POINTS, 3, axis=0)
    embedding = cramped.embed(photograph)
    expected, _ = cramped.masks(embedding, points)
    cramped._engine.most_points = 3
    masks, _ = cramped.masks(embedding, points)
    assert cramped.chunk_size == 2
    assert (masks != expected).mean() < 1e-4
    said = [record.getMessage() for record in caplog.records]
    assert said == [
        f"sam2: out of memory on cpu; decoding {count} points at once from now on"
        for count in (4, 2)
    ]
    cramped.masks(embedding, points)
    assert len(caplog.records) == 2, "said again"


def test_then_pictures_are_taken_smaller(cramped, photograph, caplog):
    embedding = cramped.embed(photograph)
    cramped._engine.largest_side = 300
    masks, _ = cramped.masks(embedding, POINTS)
    assert cramped.chunk_size == 1
    assert embedding.side == 256
    assert masks.any()
    assert cramped.embed(photograph).side == 256
    said = [record.getMessage() for record in caplog.records]
    assert said[-1] == "sam2: out of memory on cpu; pictures are analysed at 256 px from now on"
    assert len(said) == 4


def test_then_the_backend_is_unavailable(cramped, photograph):
    cramped._engine.largest_side = 100
    with pytest.raises(BackendUnavailable, match="out of memory on cpu, even for one point"):
        cramped.embed(photograph)


def test_other_errors_are_not_taken_for_a_lack_of_memory(cramped, photograph, monkeypatch):
    embedding = cramped.embed(photograph)
    monkeypatch.setattr(cramped._engine, "decode", lambda *_, **__: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        cramped.masks(embedding, POINTS)
    assert cramped.chunk_size == 8


def test_the_picture_is_resized_and_normalised_as_by_metas_video_loader(photograph):
    from PIL import Image

    side = 64
    theirs = np.array(Image.fromarray(photograph[..., ::-1].copy()).resize((side, side))) / 255.0
    expected = torch.from_numpy(theirs).permute(2, 0, 1).float()
    expected -= torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    expected /= torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    ours = normalise(resize(photograph, side), torch.device("cpu"))[0]
    assert (ours - expected).abs().max() < 1e-6


def test_every_size_of_sam2_is_known(tmp_path):
    """Widths and blocks as in the official YAML files (checked against them when this was made)."""
    parameters = {}
    for size in sam2_convert.TRUNKS:
        trunk = sam2_convert.find_trunk(f"sam2.1_hiera_{size}.yaml", tmp_path, {})
        with torch.device("meta"):
            model = transformers.Sam2Model(sam2_convert.to_config(trunk))
        assert sam2_convert.find_trunk("", tmp_path, model.state_dict()) == trunk
        parameters[size] = sum(each.numel() for each in model.vision_encoder.parameters())
    millions = {size: round(count / 1e6) for size, count in parameters.items()}
    assert millions == {"t": 27, "s": 34, "b+": 69, "l": 213}
