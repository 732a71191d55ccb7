"""The field values of the ROS messages of a scene, for any library that makes messages.

The node makes them with rclpy and the replay with rosbags: both pass a function that returns a
message of a type (``package/msg/Name``) from all of its fields as keyword arguments.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from deep_perception.masks import Box
from deep_perception.points import Point
from deep_perception.redaction.output import clean_line
from deep_perception.regions import Region, Scene
from deep_perception.stamps import NANOSECONDS

NewMessage = Callable[..., Any]
# builtin_interfaces/Time has 32 bits of seconds. A stamp outside of it, of a recording after
# January 2038 for example, becomes the nearest one inside.
FIRST_NS, LAST_NS = -(2**31) * NANOSECONDS, 2**31 * NANOSECONDS - 1


@dataclass(frozen=True)
class Keyframe:
    """The analysed frame that a scene belongs to: its std_msgs/Header, and which one it is.

    ``number`` counts the keyframes of the camera, from 1; ``reason`` is that of its Decision.
    """

    header: Any
    number: int
    reason: str
    camera: str = ""


def detections(scene: Scene, keyframe: Keyframe, new: NewMessage) -> Any:
    """Return a vision_msgs/Detection2DArray: the label is the class id, the track id the id."""
    return new(
        "vision_msgs/msg/Detection2DArray",
        header=keyframe.header,
        detections=[_detection(region, keyframe.header, new) for region in scene.regions],
    )


def described_regions(
    scene: Scene, keyframe: Keyframe, new: NewMessage, *, with_latency: bool = True
) -> Any:
    """Return a deep_perception_msgs/DescribedRegionArray."""
    return new(
        "deep_perception_msgs/msg/DescribedRegionArray",
        header=keyframe.header,
        camera=keyframe.camera,
        keyframe=keyframe.number,
        reason=keyframe.reason,
        width=scene.size.width,
        height=scene.size.height,
        coverage=scene.coverage,
        complete=scene.complete,
        skipped_points=[_point(point, new) for point in scene.skipped_points],
        segmenter=scene.segmenter,
        segmenter_model=scene.segmenter_model,
        warnings=[clean_line(warning) for warning in scene.warnings],
        regions=[
            described_region(region, keyframe, new, with_latency=with_latency)
            for region in scene.regions
        ],
    )


def described_region(
    region: Region, keyframe: Keyframe, new: NewMessage, *, with_latency: bool = True
) -> Any:
    """Return a deep_perception_msgs/DescribedRegion."""
    description, size = region.description, region.rle.size
    latency_ns = round(description.latency_s * NANOSECONDS) if with_latency else 0
    seconds, nanoseconds = divmod(latency_ns, NANOSECONDS)
    return new(
        "deep_perception_msgs/msg/DescribedRegion",
        header=keyframe.header,
        camera=keyframe.camera,
        keyframe=keyframe.number,
        index=region.index,
        track_id=region.track_id,
        source=region.point.source,
        point=_point(region.point, new),
        bbox=_bounding_box(region.box, new),
        mask=new(
            "deep_perception_msgs/msg/RegionMask",
            height=size.height,
            width=size.width,
            counts=region.rle.counts,
        ),
        area=region.area,
        score=region.score,
        label=description.label,
        description=description.text,
        attributes=[
            new("diagnostic_msgs/msg/KeyValue", key=key, value=value)
            for key, value in description.attributes.items()
        ],
        status=description.status,
        describer=description.describer,
        model=description.model,
        prompt_id=description.prompt_id,
        latency=new("builtin_interfaces/msg/Duration", sec=seconds, nanosec=nanoseconds),
        truncated=description.truncated,
        error=clean_line(description.error),
        first_seen=time_message(region.first_seen_ns, new),
        last_described=time_message(region.last_described_ns, new),
        revision=region.revision,
    )


def time_message(stamp_ns: int, new: NewMessage) -> Any:
    """Return a builtin_interfaces/Time of nanoseconds."""
    seconds, nanoseconds = divmod(min(max(stamp_ns, FIRST_NS), LAST_NS), NANOSECONDS)
    return new("builtin_interfaces/msg/Time", sec=seconds, nanosec=nanoseconds)


def _detection(region: Region, header: Any, new: NewMessage) -> Any:
    pose = new(
        "geometry_msgs/msg/Pose",
        position=new("geometry_msgs/msg/Point", x=0.0, y=0.0, z=0.0),
        orientation=new("geometry_msgs/msg/Quaternion", x=0.0, y=0.0, z=0.0, w=1.0),
    )
    result = new(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        hypothesis=new(
            "vision_msgs/msg/ObjectHypothesis",
            class_id=region.description.label,
            score=float(region.score),
        ),
        pose=new("geometry_msgs/msg/PoseWithCovariance", pose=pose, covariance=np.zeros(36)),
    )
    return new(
        "vision_msgs/msg/Detection2D",
        header=header,
        results=[result],
        bbox=_bounding_box(region.box, new),
        id=region.track_id,
    )


def _bounding_box(box: Box, new: NewMessage) -> Any:
    centre = new("vision_msgs/msg/Point2D", x=(box.x1 + box.x2) / 2, y=(box.y1 + box.y2) / 2)
    return new(
        "vision_msgs/msg/BoundingBox2D",
        center=new("vision_msgs/msg/Pose2D", position=centre, theta=0.0),
        size_x=float(box.width),
        size_y=float(box.height),
    )


def _point(point: Point, new: NewMessage) -> Any:
    return new("vision_msgs/msg/Point2D", x=float(point.x), y=float(point.y))
