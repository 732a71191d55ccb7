"""A sweep with SAM2 tiny on a CPU, without the encoder, against one full decode for every point.

The scripts that preceded this package prompted SAM2 with one point after the other. Meta's code
cannot be part of this repository, so the baseline is transformers' ``Sam2Model`` with the same
weights, point by point, which upsamples only the best mask (Meta's code also upsamples all three to
1024 x 1024).

The masks of random weights are meaningless. Both sides therefore compute SAM2's mask of every point
that is not claimed yet, but claim the region of the embedded segmenter instead. So about as many
points are decoded as with trained weights, and the same ones on both sides.
"""

from __future__ import annotations

import tempfile
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import interpolate

from benchmarks.harness import Measurement, turn_by_turn
from deep_perception.images import BgrImage
from deep_perception.masks import Size
from deep_perception.points import Point, propose
from deep_perception.segmenters.sam2 import Sam2
from deep_perception.segmenters.sam2.encoder import normalise, resize
from deep_perception.segmenters.superpixels import Regions, Superpixels
from deep_perception.settings import PointSettings, SweepSettings
from deep_perception.settings.options import settings_from
from deep_perception.sweep import Sweep
from synthetic.photographs import photograph
from synthetic.sam2_checkpoint import random_model

SIDE, RUNS = 1024, 5
MIN_AREA = SweepSettings().min_mask_area


def run() -> Measurement:
    """The median seconds of one sweep of a 640x480 photograph."""
    from transformers import Sam2Config

    model = random_model(Sam2Config())
    with tempfile.TemporaryDirectory() as folder:
        model.save_pretrained(folder)
        segmenter = Sam2(
            settings=settings_from({"segmenter.checkpoint": folder, "segmenter.device": "cpu"})
        )
    image = photograph(640, 480)
    points = propose(image, PointSettings())
    claims = Superpixels()
    regions = claims.embed(image)
    ours, baseline = _Optimised(segmenter, image, regions), _Baseline(model, image, regions)
    pair = turn_by_turn(lambda: ours.sweep(points), lambda: baseline.sweep(points), runs=RUNS)
    if ours.found != baseline.found:
        raise AssertionError("the two sides claimed different regions")
    return {
        "name": "sweep_sam2_cpu",
        "value": pair[0],
        "unit": "s",
        "baseline": pair[1],
        "ours": pair[0],
        "runs": RUNS,
    }


class _Optimised:
    """The sweep and the segmenter of the package, but claiming another mask than was computed."""

    name, model = "sam2", "random"

    def __init__(self, segmenter: Sam2, image: BgrImage, regions: Regions) -> None:
        self.chunk_size = segmenter.chunk_size
        self.found: list[Point] = []
        self._segmenter = segmenter
        self._embedding = segmenter.embed(image)
        self._regions = regions

    def sweep(self, points: list[Point]) -> None:
        height, width = self._regions.labels.shape
        sweep = Sweep(
            segmenter=self,
            embedding=self._embedding,
            points=points,
            size=Size(width, height),
            settings=SweepSettings(),
        )
        self.found = [claim.point for claim in sweep]

    def masks(
        self, embedding: Any, points: NDArray[np.int64]
    ) -> tuple[NDArray[np.bool_], NDArray[np.float32]]:
        self._segmenter.masks(embedding, points)
        return Superpixels().masks(self._regions, points)

    def embed(self, image: BgrImage) -> Any:
        raise NotImplementedError("the image is already embedded")

    def close(self) -> None:
        self._segmenter.close()


class _Baseline:
    """The loop of the scripts: one point after the other."""

    def __init__(self, model: Any, image: BgrImage, regions: Regions) -> None:
        self.found: list[Point] = []
        self._model = model
        self._regions = regions
        with torch.inference_mode():
            pixels = normalise(resize(image, SIDE), torch.device("cpu"))
            self._features = model.get_image_embeddings(pixels)

    def sweep(self, points: list[Point]) -> None:
        ignored = np.zeros(self._regions.labels.shape, np.bool_)
        self.found = []
        for point in points:
            if ignored[point.y, point.x]:
                continue
            self._decode(point)
            mask = self._regions.labels == self._regions.labels[point.y, point.x]
            if mask.sum() < MIN_AREA:
                continue
            ignored |= mask
            self.found.append(point)

    def _decode(self, point: Point) -> NDArray[np.bool_]:
        height, width = self._regions.labels.shape
        coordinates = torch.tensor([point.x / width, point.y / height]) * SIDE
        with torch.inference_mode():
            output = self._model(
                image_embeddings=self._features,
                input_points=coordinates.view(1, 1, 1, 2),
                input_labels=torch.ones(1, 1, 1, dtype=torch.int32),
                multimask_output=True,
            )
            best = output.pred_masks[0, 0, output.iou_scores[0, 0].argmax()]
            large = interpolate(best[None, None], (height, width), mode="bilinear")
        masks: NDArray[np.bool_] = (large[0, 0] > 0).numpy()
        return masks
