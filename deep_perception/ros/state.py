"""What the parts of the node share."""

from __future__ import annotations

from dataclasses import dataclass, field

from deep_perception.ros.camera_pipeline import CameraPipeline
from deep_perception.settings import Settings


@dataclass(kw_only=True)
class NodeState:
    """Changed by the node only; ``pipelines`` is empty while the node is not configured."""

    settings: Settings
    pipelines: dict[str, CameraPipeline] = field(default_factory=dict)
    """The pipeline of each camera, by the camera's name."""
    problem: str = ""
    """Why the last transition failed; "" after one that succeeded."""
