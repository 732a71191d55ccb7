"""SAM2 with Meta's own package ``sam2``, if it is installed: the same masks, but slower."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from deep_perception.backends import BackendUnavailable
from deep_perception.segmenters.sam2.checks import check_pickle
from deep_perception.segmenters.sam2.decoder import MASKS, Decoded
from deep_perception.segmenters.sam2.encoder import normalise
from deep_perception.segmenters.sam2.files import find
from deep_perception.untrusted.text import REASON, printable

PATCH = 16
CONFIG_OF_CHECKPOINT = {"tiny": "t", "small": "s", "base_plus": "b+", "large": "l"}


class OfficialEngine:
    """Meta's model with the pre-processing of this package, which does not need torchvision.

    Two methods of the model are private, because Meta's package has no public ones for one image.
    """

    def __init__(self, checkpoint: str, config: str, device: torch.device) -> None:
        try:
            from sam2.build_sam import build_sam2
        except (ImportError, RuntimeError) as error:
            raise BackendUnavailable(
                f"it needs Meta's package sam2 ({error}); install it from "
                "https://github.com/facebookresearch/sam2 or set segmenter.backend to sam2"
            ) from error
        path = find(checkpoint)
        if path is None or path.is_dir():
            raise BackendUnavailable(
                f"it reads Meta's .pt files, not {checkpoint}; set segmenter.checkpoint to such a "
                "file or segmenter.backend to sam2"
            )
        try:
            check_pickle(path)
            self._model = build_sam2(_config_name(config, path), str(path), device=str(device))
        except Exception as error:  # Hydra, unpickling and a wrong size raise errors of any class.
            reason = printable(error, REASON)
            raise BackendUnavailable(f"sam2 cannot load {path}: {reason}") from error
        self._device = device
        self.name = path.name

    def embed(self, rgb: NDArray[np.uint8]) -> list[torch.Tensor]:
        """The feature maps (1, D, h, w), fine to coarse, with the no-memory embedding added."""
        self._set_side(rgb.shape[0])
        with torch.inference_mode():
            output = self._model.forward_image(normalise(rgb, self._device))
            _, features, _, sizes = self._model._prepare_backbone_features(output)  # noqa: SLF001
            features[-1] = features[-1] + self._model.no_mem_embed
            pairs = zip(features, sizes, strict=True)
            return [level.permute(1, 2, 0).unflatten(2, size) for level, size in pairs]

    def decode(
        self, features: list[torch.Tensor], points: NDArray[np.float32], *, all_masks: bool
    ) -> Decoded:
        """Masks of P positive points (P, 2), x and y in pixels of the image."""
        self._set_side(features[-1].shape[-1] * PATCH)
        count = len(points)
        prompt = {
            "point_coords": torch.from_numpy(points).to(self._device)[:, None],
            "point_labels": torch.ones(count, 1, dtype=torch.int32, device=self._device),
        }
        fine, middle, coarse = (level.expand(count, -1, -1, -1) for level in features)
        with torch.inference_mode():
            logits, _, quality, best, _, _, object_score = self._model._forward_sam_heads(  # noqa: SLF001
                coarse, prompt, high_res_features=[fine, middle], multimask_output=True
            )
        if not all_masks:
            logits, quality = best, quality.amax(dim=1, keepdim=True)
        return Decoded(logits[:, -MASKS:], quality, object_score[:, 0] > 0)

    def _set_side(self, side: int) -> None:
        """Set the side of the image, which Meta's model takes from its configuration (1024)."""
        model, grid = self._model, side // PATCH
        model.image_size, model.sam_image_embedding_size = side, grid
        model.sam_prompt_encoder.input_image_size = (side, side)
        model.sam_prompt_encoder.image_embedding_size = (grid, grid)


def _config_name(config: str, checkpoint: Path) -> str:
    """Meta's name of a configuration, such as ``configs/sam2.1/sam2.1_hiera_l.yaml``."""
    if not config:
        family, _, size = checkpoint.stem.partition("_hiera_")
        if size not in CONFIG_OF_CHECKPOINT:
            raise ValueError(f"set segmenter.config: {checkpoint.name} does not name its size")
        config = f"{family}_hiera_{CONFIG_OF_CHECKPOINT[size]}"
    if not re.fullmatch(r"(?!.*\.\.)[\w][\w.+/-]*", config):
        # Hydra creates whatever a configuration names, so only those of the package are used.
        raise ValueError(f"segmenter.config {printable(config)} is no name of the package sam2")
    name = Path(config).name.removesuffix(".yaml")
    version = re.match(r"sam2(\.1)?(?=_)", name)
    return f"configs/{version[0]}/{name}.yaml" if version else config
