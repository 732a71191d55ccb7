"""SAM2 on a device: the encoder and the optimised decoder behind an interface of numpy arrays."""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import torch
from numpy.typing import NDArray

from deep_perception.segmenters.sam2 import weights
from deep_perception.segmenters.sam2.decoder import Decoded, Decoder, Prepared
from deep_perception.segmenters.sam2.encoder import Encoder, normalise


class Engine(Protocol):
    """An implementation of SAM2."""

    name: str
    """The name of the checkpoint."""

    def embed(self, rgb: NDArray[np.uint8]) -> Any:
        """The features of an image (S, S, 3) uint8 RGB, S a multiple of 32, on the device."""
        ...

    def decode(self, features: Any, points: NDArray[np.float32], *, all_masks: bool) -> Decoded:
        """Masks of P positive points (P, 2), x and y in pixels of that image."""
        ...


class NativeEngine:
    """The weights and the backbone of transformers with this package's decoder; float32.

    bf16, channels-last and ``torch.compile`` are not used: bf16 changes masks and is 4 x slower on
    a CPU, and none of them could be measured on a GPU.
    """

    def __init__(self, checkpoint: str, config: str, device: torch.device) -> None:
        model, self.name = weights.load(checkpoint, config)
        model.to(device)
        self._device = device
        with torch.inference_mode():
            self._encoder = Encoder(model)
            self._decoder = Decoder(model)

    def embed(self, rgb: NDArray[np.uint8]) -> Prepared:
        with torch.inference_mode():
            return self._decoder.prepare(*self._encoder.encode(normalise(rgb, self._device)))

    def decode(
        self, features: Prepared, points: NDArray[np.float32], *, all_masks: bool
    ) -> Decoded:
        # The features have 1/16 of the image's side. The centre of a pixel is at +0.5.
        side = features.grid * 16
        with torch.inference_mode():
            coordinates = (torch.from_numpy(points).to(self._device) + 0.5) / side
            return self._decoder.decode(features, coordinates, all_masks=all_masks)
