"""SAM2 (Ravi et al., "SAM 2: Segment Anything in Images and Videos", 2024) as a segmenter.

Masks are those of Meta's video predictor for one positive point on frame 0, which the scripts used
that preceded this package: the mask with the best predicted IoU of the three, empty if the object
score is not positive, with logits upsampled bilinearly to the working size and thresholded at 0.
Unlike those scripts, the frame is not written to a JPEG file first.
"""

from __future__ import annotations

import gc
import logging
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from deep_perception.backends import BackendUnavailable
from deep_perception.images import BgrImage
from deep_perception.masks import Mask
from deep_perception.segmenters.sam2.device import (
    empty_cache,
    is_out_of_memory,
    memory_in_use,
    needs,
    pick_device,
)
from deep_perception.segmenters.sam2.mask_cleanup import clean
from deep_perception.settings import SegmenterSettings, Settings

if TYPE_CHECKING:
    from deep_perception.segmenters.sam2.engine import Engine

log = logging.getLogger(__name__)

# One point uses a CPU fully: larger chunks take longer per point and decode points that an earlier
# mask of the chunk claims. A GPU needs chunks to be busy; these sizes are estimates, not measured.
CHUNK_SIZES = {"cpu": 1, "cuda": 32, "mps": 8}
# The sides to which the image is reduced, one after the other, if memory runs out.
SMALLER_SIDES = (768, 512, 256)
WARM_UP_SIDE = 256
SIZES = {"small": 0, "medium": 1, "large": 2}


@dataclass(eq=False)
class Embedding:
    """An image, and its features at the largest side that fits into memory."""

    image: BgrImage
    side: int
    features: Any


class Sam2:
    """The segmenter ``sam2``: transformers' model with a decoder optimised for many points."""

    name = "sam2"

    def __init__(self, *, settings: Settings) -> None:
        """Load the weights and run them once. Raises BackendUnavailable."""
        chosen = settings.segmenter
        self._settings = chosen
        self._side = chosen.image_size
        self._device = pick_device(chosen.device)
        self._engine: Engine | None = self._load(chosen, self._device)
        self.model = self._engine.name
        self.chunk_size = chosen.chunk_size or CHUNK_SIZES[self._device.type]
        self._one_by_one = self._device.type == "cpu"
        self._warm_up()

    def _load(self, chosen: SegmenterSettings, device: Any) -> Engine:
        with needs("transformers"):
            from deep_perception.segmenters.sam2.engine import NativeEngine
        return NativeEngine(chosen.checkpoint, chosen.config, device)

    def embed(self, image: BgrImage) -> Embedding:
        """Encode an HxWx3 BGR image at ``segmenter.image_size``, or smaller if memory runs out."""
        while True:
            try:
                return self._embed(image, self._side)
            except Exception as error:
                self._reduce_side(error)

    def masks(
        self, embedding: Embedding, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        """Masks (P, H, W) bool and predicted IoU (P,) in 0..1 of points (P, 2) x, y in pixels.

        On a CPU the points are decoded one by one, so that rounding does not depend on the chunk.
        """
        height, width = embedding.image.shape[:2]
        found = np.zeros((len(points), height, width), np.bool_)
        scores = np.zeros(len(points), np.float32)
        done = 0
        while done < len(points):
            part = slice(done, done + (1 if self._one_by_one else self.chunk_size))
            try:
                found[part], scores[part] = self._decode(embedding, points[part])
            except Exception as error:
                self._reduce_memory(error, embedding)
            else:
                done = part.stop
        return found, scores

    @property
    def statistics(self) -> Mapping[str, int]:
        """The used memory of the device for the diagnostics, if the device has its own memory."""
        megabytes = memory_in_use(self._device) >> 20
        return {"gpu_memory_mb": megabytes} if self._device.type != "cpu" else {}

    def close(self) -> None:
        """Free the memory of the weights, also on the device."""
        self._engine = None
        gc.collect()
        empty_cache(self._device)

    def _loaded(self) -> Engine:
        if self._engine is None:
            raise BackendUnavailable(f"segmenter {self.name!r} is closed")
        return self._engine

    def _embed(self, image: BgrImage, side: int) -> Embedding:
        from deep_perception.segmenters.sam2.encoder import resize

        return Embedding(image, side, self._loaded().embed(resize(image, side)))

    def _decode(
        self, embedding: Embedding, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        from deep_perception.segmenters.sam2 import masks as sam2_masks

        height, width = embedding.image.shape[:2]
        size = np.array([width, height], np.float32)
        coordinates = points.astype(np.float32) / size * np.float32(embedding.side)
        scale = self._settings.scale
        decoded = self._loaded().decode(embedding.features, coordinates, all_masks=scale != "best")
        logits, scores = decoded.logits[:, 0], decoded.quality[:, 0]
        if scale != "best":
            logits, scores = sam2_masks.of_size(decoded, SIZES[scale])
        found = sam2_masks.above_zero(logits, height, width)
        found &= decoded.present.cpu().numpy()[:, None, None]
        cleaned = np.stack([self._clean(mask) for mask in found])
        return cleaned, scores.float().cpu().numpy().clip(0, 1)

    def _clean(self, mask: Mask) -> Mask:
        return clean(
            mask,
            fill_holes_area=self._settings.fill_holes_area,
            drop_specks_area=self._settings.drop_specks_area,
            largest_component=self._settings.largest_component,
        )

    def _warm_up(self) -> None:
        """Run the model once, so that the first image is not slow.

        A GPU chooses its kernels by size, so it gets full-size input; a CPU only has to load them.
        """
        blank = np.zeros((48, 64, 3), np.uint8)
        if self._one_by_one:
            self._decode(self._embed(blank, WARM_UP_SIDE), np.zeros((1, 2), np.int64))
        else:
            self.masks(self.embed(blank), np.zeros((self.chunk_size, 2), np.int64))

    def _reduce_memory(self, error: Exception, embedding: Embedding) -> None:
        """After a decode ran out of memory, halve the chunk size, or else reduce the image."""
        if self._one_by_one or self.chunk_size == 1:
            embedding.features = None  # Freed before the new features are computed.
            self._reduce_side(error)
            smaller = self.embed(embedding.image)
            embedding.side, embedding.features = smaller.side, smaller.features
            return
        if not is_out_of_memory(error):
            raise error
        empty_cache(self._device)
        self.chunk_size //= 2
        log.warning(
            "%s: out of memory on %s; decoding %d points at once from now on",
            self.name, self._device, self.chunk_size,
        )  # fmt: skip

    def _reduce_side(self, error: Exception) -> None:
        if not is_out_of_memory(error):
            raise error
        empty_cache(self._device)
        smaller = next((side for side in SMALLER_SIDES if side < self._side), 0)
        if not smaller:
            raise BackendUnavailable(
                f"segmenter {self.name!r} is out of memory on {self._device}, even for one point "
                f"of an image of {self._side} px; choose a smaller checkpoint or another device"
            ) from error
        self._side = smaller
        log.warning(
            "%s: out of memory on %s; images are analysed at %d px from now on",
            self.name, self._device, self._side,
        )  # fmt: skip


class Sam2Official(Sam2):
    """The segmenter ``sam2_official``: the same with the model from Meta's package ``sam2``."""

    name = "sam2_official"

    def _load(self, chosen: SegmenterSettings, device: Any) -> Engine:
        with needs("torch"):
            from deep_perception.segmenters.sam2.official import OfficialEngine
        return OfficialEngine(chosen.checkpoint, chosen.config, device)
