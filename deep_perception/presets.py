"""The three scripts that the package grew out of, as settings."""

from __future__ import annotations

from deep_perception.settings import Scalar

PRESETS: dict[str, dict[str, Scalar]] = {
    "contours-lmstudio": {
        "points.sources": "contours+grid",
        "segmenter.backend": "sam2",
        "describer.backend": "chat",
    },
    "contours-dam": {
        "points.sources": "contours+grid",
        "segmenter.backend": "sam2",
        "describer.backend": "dam",
    },
    "grid-dam": {
        "points.sources": "grid",
        "segmenter.backend": "sam2",
        "describer.backend": "dam",
    },
}
