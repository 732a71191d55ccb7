"""Masks equal those of Meta's code, and the optimised decoder equals that of transformers.

`data/sam2_parity.npz` holds an image, points, and the output of Meta's own code
(facebookresearch/sam2 at 2b90b9f, `add_new_points_or_box` on frame 0) with the same weights.
"""

import importlib.util
from pathlib import Path

import numpy as np
import pytest

HINT = "run with: python -m pip install -r requirements/sam2.txt"
torch = pytest.importorskip("torch", reason=f"there is no torch; {HINT}")
transformers = pytest.importorskip("transformers", reason=f"there is no transformers; {HINT}")

from deep_perception.backends import BackendUnavailable  # noqa: E402
from deep_perception.segmenters.sam2 import Sam2, Sam2Official  # noqa: E402
from deep_perception.segmenters.sam2 import masks as sam2_masks  # noqa: E402
from deep_perception.segmenters.sam2.decoder import Decoder  # noqa: E402
from deep_perception.segmenters.sam2.encoder import normalise, resize  # noqa: E402
from deep_perception.segmenters.sam2.engine import NativeEngine  # noqa: E402
from support.sam2_models import POINTS, sam2_settings  # noqa: E402

pytestmark = pytest.mark.sam2
DATA = Path(__file__).parents[2] / "data"
TOLERANCE = 1e-3


@pytest.fixture(scope="module")
def frozen():
    return np.load(DATA / "sam2_parity.npz")


@pytest.mark.parametrize("side", [256, 1024])
def test_masks_equal_those_of_metas_code(folder, frozen, side):
    picture, points = frozen["picture"], frozen[f"points_{side}"]
    height, width = picture.shape[:2]
    segmenter = Sam2(settings=sam2_settings(folder, image_size=side))
    embedding = segmenter.embed(picture)
    masks, scores = segmenter.masks(embedding, points)
    expected = np.unpackbits(frozen[f"masks_{side}"], axis=1, count=height * width)
    # Rounding may change single pixels.
    different = masks.reshape(len(points), -1) != expected
    assert different.sum() <= 2e-5 * different.size
    assert np.abs(scores - frozen[f"quality_{side}"].max(1)).max() < TOLERANCE

    coordinates = points.astype(np.float32) / np.array([width, height], np.float32) * side
    engine = NativeEngine(str(folder), "", torch.device("cpu"))
    decoded = engine.decode(embedding.features, coordinates, all_masks=False)
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


def test_the_optimised_decoder_equals_transformers(model):
    """Compare all three masks and qualities of many points at once at a side other than 1024."""
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
    # Meta's code also requires the weights for videos.
    everything = build.build_sam2(name, None, device="cpu").state_dict()
    everything.update(torch.load(official, weights_only=True)["model"])
    whole = tmp_path / official.name
    torch.save({"model": everything}, whole)
    expected, expected_scores = segmenter.masks(segmenter.embed(photograph), POINTS)
    for config in ("", name):
        theirs = Sam2Official(settings=sam2_settings(whole, config=config))
        masks, scores = theirs.masks(theirs.embed(photograph), POINTS)
        assert (masks != expected).mean() < 1e-4
        assert np.abs(scores - expected_scores).max() < 1e-4


@pytest.mark.skipif(importlib.util.find_spec("sam2") is not None, reason="sam2 is installed")
def test_the_missing_official_package_is_reported(official):
    with pytest.raises(BackendUnavailable, match="needs Meta's package sam2"):
        Sam2Official(settings=sam2_settings(official))


def test_preprocessing_equals_that_of_metas_video_loader(photograph):
    from PIL import Image

    side = 64
    theirs = np.array(Image.fromarray(photograph[..., ::-1].copy()).resize((side, side))) / 255.0
    expected = torch.from_numpy(theirs).permute(2, 0, 1).float()
    expected -= torch.tensor([0.485, 0.456, 0.406]).view(3, 1, 1)
    expected /= torch.tensor([0.229, 0.224, 0.225]).view(3, 1, 1)
    ours = normalise(resize(photograph, side), torch.device("cpu"))[0]
    assert (ours - expected).abs().max() < 1e-6


def test_opencv_upsamples_like_torch():
    logits = torch.randn(3, 64, 64, generator=torch.Generator().manual_seed(0))
    for height, width in ((100, 150), (64, 64), (33, 20), (480, 640)):
        large = torch.nn.functional.interpolate(
            logits[None], (height, width), mode="bilinear", align_corners=False
        )[0]
        ours = sam2_masks.above_zero(logits, height, width)
        assert (large.abs()[torch.from_numpy(ours) != (large > 0)] < 1e-4).all()


@pytest.mark.parametrize("length", [1, 8, 13, 64])
def test_bits_are_packed_like_numpy(length):
    bits = torch.rand(3, length, generator=torch.Generator().manual_seed(0)) > 0.5
    assert np.array_equal(sam2_masks.pack(bits).numpy(), np.packbits(bits.numpy(), axis=1))
