"""Id switches, fragmentation and IDF1 of track ids against the truth, computed by TrackEval."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from trackeval.metrics import CLEAR, Identity

from deep_perception.masks import Mask
from deep_perception.regions import Region

# True regions of which a smaller part is visible are not evaluated; pixels.
MIN_TRUE_AREA = 80


class Score(NamedTuple):
    """``regions`` is the number of true regions that were found, over all frames."""

    id_switches: int
    fragments: int
    idf1: float
    regions: int

    @classmethod
    def total(cls, scores: Sequence[Score]) -> Score:
        """The sums of several scores, and the mean of IDF1."""
        return cls(
            sum(score.id_switches for score in scores),
            sum(score.fragments for score in scores),
            float(np.mean([score.idf1 for score in scores])),
            sum(score.regions for score in scores),
        )


class TrackEvaluation:
    """Collects the true regions and the track ids of all frames of a sequence."""

    def __init__(self) -> None:
        self._truth: list[list[int]] = []
        self._given: list[list[str]] = []
        self._overlap: list[NDArray[np.float64]] = []

    def add(self, truth: NDArray[np.int32], given: Iterable[tuple[str, Mask]]) -> None:
        """Add a frame: the true label of each pixel (negative: none), and masks with their ids."""
        names, masks = [], []
        for name, mask in given:
            names.append(name)
            masks.append(mask)
        labels, areas = np.unique(truth[truth >= 0], return_counts=True)
        kept = labels[areas >= MIN_TRUE_AREA]
        overlap = np.zeros((len(kept), len(names)))
        for column, mask in enumerate(masks):
            inside, shared = np.unique(truth[mask], return_counts=True)
            counts = dict(zip(inside.tolist(), shared.tolist(), strict=True))
            total = np.count_nonzero(mask)
            for row, label in enumerate(kept.tolist()):
                area = int(areas[labels == label][0])
                overlap[row, column] = counts.get(label, 0) / (area + total - counts.get(label, 0))
        self._truth.append(kept.tolist())
        self._given.append(names)
        self._overlap.append(overlap)

    def score(self) -> Score:
        """The score of all frames that were added."""
        truth = sorted({label for frame in self._truth for label in frame})
        given = sorted({name for frame in self._given for name in frame})
        data = {
            "num_timesteps": len(self._truth),
            "num_gt_ids": len(truth),
            "num_tracker_ids": len(given),
            "num_gt_dets": sum(map(len, self._truth)),
            "num_tracker_dets": sum(map(len, self._given)),
            "gt_ids": [
                np.array([truth.index(label) for label in frame], int) for frame in self._truth
            ],
            "tracker_ids": [
                np.array([given.index(name) for name in frame], int) for frame in self._given
            ],
            "similarity_scores": self._overlap,
        }
        quiet = {"PRINT_CONFIG": False}
        clear = CLEAR(quiet).eval_sequence(data)
        identity = Identity(quiet).eval_sequence(data)
        return Score(
            int(clear["IDSW"]), int(clear["Frag"]), float(identity["IDF1"]), int(clear["CLR_TP"])
        )


def overlap_ids(frames: Iterable[Sequence[Region]], at_least: float = 0.3) -> list[list[str]]:
    """The ids of the baseline: best one-to-one overlaps of masks with those of the last frame."""
    before: Sequence[Region] = ()
    before_names: list[str] = []
    given: list[list[str]] = []
    count = 0
    for regions in frames:
        overlap = np.array(
            [[_iou(region, other) for other in before] for region in regions], float
        ).reshape(len(regions), len(before))
        names = [""] * len(regions)
        for row, column in zip(*linear_sum_assignment(overlap, maximize=True), strict=True):
            if overlap[row, column] >= at_least:
                names[row] = before_names[column]
        for row, name in enumerate(names):
            if not name:
                count += 1
                names[row] = f"b{count}"
        before, before_names = regions, names
        given.append(names)
    return given


def _iou(region: Region, other: Region) -> float:
    """The IoU of the masks of two regions of images of the same size."""
    x1, y1 = max(region.box.x1, other.box.x1), max(region.box.y1, other.box.y1)
    x2, y2 = min(region.box.x2, other.box.x2), min(region.box.y2, other.box.y2)
    if x1 >= x2 or y1 >= y2:
        return 0.0
    window = slice(y1, y2), slice(x1, x2)
    shared = np.count_nonzero(region.mask[window] & other.mask[window])
    return shared / (region.area + other.area - shared)
