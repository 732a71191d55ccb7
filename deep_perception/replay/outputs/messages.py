"""Scenes as messages without ROS: what the node publishes, but for the latency.

How long a description took differs from run to run, and the same recording gives the same bytes.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from deep_perception.encodings import to_jpeg
from deep_perception.images import BgrImage
from deep_perception.regions import Scene
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.recordings import interfaces
from deep_perception.replay.recordings.interfaces import make
from deep_perception.reports import messages
from deep_perception.reports.messages import Keyframe
from deep_perception.stamps import header_of


def keyframe_of(data: bytes, record: SceneRecord, *, camera: str) -> Keyframe:
    """Return the keyframe of a scene, with the header of the CDR bytes of its message."""
    stamp_ns, frame_id = header_of(data)
    stamp = messages.time_message(stamp_ns, make)
    header = make("std_msgs/msg/Header", stamp=stamp, frame_id=frame_id)
    return Keyframe(header, record.keyframe, record.reason, camera)


def to_annotated(image: BgrImage, keyframe: Keyframe, quality: int) -> Any:
    """Return an HxWx3 uint8 BGR image as a sensor_msgs/CompressedImage with a JPEG."""
    data, image_format = to_jpeg(image, quality)
    return make(
        interfaces.COMPRESSED_IMAGE,
        header=keyframe.header,
        format=image_format,
        data=np.frombuffer(data, np.uint8),
    )


def to_detections(scene: Scene, keyframe: Keyframe) -> Any:
    """Return a vision_msgs/Detection2DArray."""
    return messages.detections(scene, keyframe, make)


def to_regions(scene: Scene, keyframe: Keyframe) -> Any:
    """Return a deep_perception_msgs/DescribedRegionArray."""
    return messages.described_regions(scene, keyframe, make, with_latency=False)
