"""SAM2's image encoder: from a BGR image to the three feature maps that the decoder needs.

The backbone is that of transformers. Its neck is replaced: it computes position encodings for the
video memory at every call, and three of its four 1x1 convolutions are followed by another 1x1
convolution or a sum, which are combined here. The features differ by float rounding only.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor
from torch.nn.functional import linear

from deep_perception.images import BgrImage

# The mean and the standard deviation of ImageNet, in RGB order.
MEAN = (0.485, 0.456, 0.406)
DEVIATION = (0.229, 0.224, 0.225)


def resize(image: BgrImage, side: int) -> NDArray[np.uint8]:
    """HxWx3 BGR to (side, side, 3) RGB without keeping the aspect, as in Meta's video loader.

    It uses Pillow's default filter (bicubic, antialiased), whose rounding cv2 and torch lack.
    """
    rgb = np.ascontiguousarray(image[..., ::-1])
    return np.asarray(Image.fromarray(rgb).resize((side, side), Image.Resampling.BICUBIC))


def normalise(rgb: NDArray[np.uint8], device: torch.device) -> Tensor:
    """(S, S, 3) uint8 RGB to (1, 3, S, S) float32 on the device."""
    pixels = torch.from_numpy(rgb.copy()).to(device).permute(2, 0, 1)[None].float() / 255
    mean = torch.tensor(MEAN, device=device).view(3, 1, 1)
    deviation = torch.tensor(DEVIATION, device=device).view(3, 1, 1)
    return (pixels - mean) / deviation


class Encoder:
    """The image encoder of one transformers ``Sam2Model``, whose weights it shares."""

    def __init__(self, model: Any) -> None:
        levels = list(model.config.vision_config.fpn_top_down_levels)
        if levels != [2, 3]:
            raise ValueError(f"fpn_top_down_levels are {levels}, expected [2, 3] as in every SAM2")
        self._backbone = model.vision_encoder.backbone
        # The deepest level comes first.
        deepest, coarse, middle, fine = model.vision_encoder.neck.convs
        decoder = model.mask_decoder
        self._deepest = _matrix(deepest), deepest.bias
        self._coarse = _matrix(coarse), coarse.bias + model.no_memory_embedding.flatten()
        self._middle = _compose(middle, decoder.conv_s1)
        self._fine = _compose(fine, decoder.conv_s0)

    def encode(self, pixels: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Normalised pixels (1, 3, S, S), S a multiple of 32, to features with channels last.

        Returns ``coarse`` (S/16, S/16, 256) with the no-memory embedding, and ``middle``
        (S/8, S/8, 64) and ``fine`` (S/4, S/4, 32) after the decoder's own convolutions.
        """
        stages = self._backbone(pixels).intermediate_hidden_states
        fine, middle, coarse, deepest = (stage[0] for stage in stages)
        top_down = linear(deepest, *self._deepest)
        top_down = top_down.repeat_interleave(2, dim=0).repeat_interleave(2, dim=1)
        return (
            linear(coarse, *self._coarse) + top_down,
            linear(middle, *self._middle),
            linear(fine, *self._fine),
        )


def _matrix(conv: Any) -> Tensor:
    """The weight of a 1x1 convolution as a matrix (outputs, inputs)."""
    weight: Tensor = conv.weight.flatten(1)
    return weight


def _compose(first: Any, second: Any) -> tuple[Tensor, Tensor]:
    """Weight and bias of the composition of two 1x1 convolutions."""
    weight = _matrix(second) @ _matrix(first)
    return weight, _matrix(second) @ first.bias + second.bias
