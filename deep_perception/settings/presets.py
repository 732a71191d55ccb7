"""The settings of the three scripts that preceded this package."""

from __future__ import annotations

from deep_perception.settings import Scalar

SAM2_LARGE: dict[str, Scalar] = {
    "segmenter.backend": "sam2",
    "segmenter.checkpoint": "checkpoints/sam2.1_hiera_large.pt",
    "segmenter.config": "sam2.1_hiera_l.yaml",
}

PRESETS: dict[str, dict[str, Scalar]] = {
    "contours-lmstudio": {
        "points.sources": "contours+grid",
        **SAM2_LARGE,
        "describer.backend": "chat",
    },
    "contours-dam": {
        "points.sources": "contours+grid",
        **SAM2_LARGE,
        "describer.backend": "dam",
    },
    "grid-dam": {
        "points.sources": "grid",
        **SAM2_LARGE,
        "describer.backend": "dam",
    },
}
