"""Scenes and images as ROS messages, and scenes back from messages."""

from __future__ import annotations

import importlib
from array import array
from functools import cache
from typing import Any

import numpy as np
from builtin_interfaces.msg import Time
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import Detection2DArray

from deep_perception import encodings, masks
from deep_perception.images import BgrImage
from deep_perception.masks import Rle, Size
from deep_perception.points import Point
from deep_perception.regions import Region, Scene
from deep_perception.reports import messages
from deep_perception.reports.fields import region_from_fields, scene_fields
from deep_perception.reports.messages import Keyframe
from deep_perception.stamps import NANOSECONDS
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray

# The fields that have one name and one value in a message and in ``region_fields``.
SAME_FIELDS = (
    "index", "track_id", "label", "status", "area", "score", "describer", "model", "prompt_id",
    "truncated", "error", "revision",
)  # fmt: skip


def to_image(image: BgrImage, header: Header) -> Image:
    """Return an HxWx3 uint8 BGR image as a bgr8 Image."""
    height, width = image.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding="bgr8", step=3 * width, is_bigendian=0
    )
    # rclpy takes an array('B') as it is and checks every other type element by element.
    data = array("B")
    data.frombytes(np.ascontiguousarray(image).data.cast("B"))
    message.data = data
    return message


def to_compressed_image(image: BgrImage, header: Header, quality: int) -> CompressedImage:
    """Return an HxWx3 uint8 BGR image as a CompressedImage with a JPEG."""
    jpeg, image_format = encodings.to_jpeg(image, quality)
    data = array("B")
    data.frombytes(jpeg)
    return CompressedImage(header=header, format=image_format, data=data)


def to_detections(scene: Scene, keyframe: Keyframe) -> Detection2DArray:
    """Return one Detection2D for each region."""
    return messages.detections(scene, keyframe, _new)


def to_regions(scene: Scene, keyframe: Keyframe) -> DescribedRegionArray:
    """Return the whole scene."""
    return messages.described_regions(scene, keyframe, _new)


def to_region(region: Region, keyframe: Keyframe) -> DescribedRegion:
    """Return one region with its description."""
    return messages.described_region(region, keyframe, _new)


def to_time(stamp_ns: int) -> Time:
    """Return nanoseconds as a Time."""
    return messages.time_message(stamp_ns, _new)


def stamp_ns(stamp: Time) -> int:
    """Return a Time as nanoseconds."""
    return int(stamp.sec * NANOSECONDS + stamp.nanosec)


def to_json_dict(scene: Scene, keyframe: Keyframe) -> dict[str, Any]:
    """Return the scene without masks for a consumer that reads text, with the source's header."""
    stamp = keyframe.header.stamp
    return {
        "stamp": stamp.sec + stamp.nanosec / NANOSECONDS,
        "frame_id": keyframe.header.frame_id,
        "camera": keyframe.camera,
        "keyframe": keyframe.number,
        "reason": keyframe.reason,
        **scene_fields(scene, with_masks=False),
    }


def from_regions(message: DescribedRegionArray) -> Scene:
    """Return the scene of a message; masks are at source size, what it lacks has its default."""
    size = Size(message.width, message.height)
    return Scene(
        size=size,
        working_size=size,
        regions=tuple(_from_region(region) for region in message.regions),
        coverage=message.coverage,
        skipped_points=tuple(
            Point(int(point.x), int(point.y), "grid") for point in message.skipped_points
        ),
        proposed_points=0,
        segmenter=message.segmenter,
        segmenter_model=message.segmenter_model,
        warnings=tuple(message.warnings),
    )


def _from_region(message: DescribedRegion) -> Region:
    rle = Rle(Size(message.mask.width, message.mask.height), message.mask.counts)
    centre, box = message.bbox.center.position, message.bbox
    fields = {
        **{name: getattr(message, name) for name in SAME_FIELDS},
        "text": message.description,
        "attributes": {pair.key: pair.value for pair in message.attributes},
        "bbox_xyxy": [
            round(centre.x - box.size_x / 2),
            round(centre.y - box.size_y / 2),
            round(centre.x + box.size_x / 2),
            round(centre.y + box.size_y / 2),
        ],
        "point": [message.point.x, message.point.y, message.source],
        "first_seen_ns": stamp_ns(message.first_seen),
        "last_described_ns": stamp_ns(message.last_described),
    }
    return region_from_fields(
        fields,
        rle=rle,
        working_mask=masks.decode(rle),
        latency_s=message.latency.sec + message.latency.nanosec / NANOSECONDS,
    )


@cache
def _message_class(type_name: str) -> Any:
    package, _, name = type_name.split("/")
    return getattr(importlib.import_module(f"{package}.msg"), name)


def _new(type_name: str, **fields: Any) -> Any:
    return _message_class(type_name)(**fields)
