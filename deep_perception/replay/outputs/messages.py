"""Scenes as messages without ROS: field by field what the node publishes, but no ``latency``."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from deep_perception.encodings import to_jpeg
from deep_perception.images import BgrImage
from deep_perception.masks import Box
from deep_perception.points import Point
from deep_perception.regions import Region, Scene
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.recordings import interfaces
from deep_perception.replay.recordings.bags import header_of
from deep_perception.replay.recordings.interfaces import make

_NANOSECONDS = 1_000_000_000
# What builtin_interfaces/Time can say: 32 bits of seconds.
_FIRST_NS, _LAST_NS = -(2**31) * _NANOSECONDS, 2**31 * _NANOSECONDS - 1


@dataclass(frozen=True)
class Source:
    """The image message that a scene was made from: its header, and which keyframe it is."""

    header: Any
    keyframe: int
    reason: str
    camera: str

    @classmethod
    def of(cls, data: bytes, seen: SceneRecord, *, camera: str) -> Source:
        """With the header of CDR bytes that start with one."""
        stamp_ns, frame_id = header_of(data)
        header = make("std_msgs/msg/Header", _time(stamp_ns), frame_id)
        return cls(header, seen.keyframe, seen.reason, camera)


def to_annotated(picture: BgrImage, source: Source, quality: int) -> Any:
    """A sensor_msgs/CompressedImage of an HxWx3 BGR picture."""
    data, kind = to_jpeg(picture, quality)
    return make(interfaces.COMPRESSED_IMAGE, source.header, kind, np.frombuffer(data, np.uint8))


def to_detections(scene: Scene, source: Source) -> Any:
    """A vision_msgs/Detection2DArray."""
    detections = [_detection(region, source.header) for region in scene.regions]
    return make(interfaces.DETECTIONS, source.header, detections)


def _detection(region: Region, header: Any) -> Any:
    nowhere = make("geometry_msgs/msg/Point", 0.0, 0.0, 0.0)
    pose = make(
        "geometry_msgs/msg/Pose", nowhere, make("geometry_msgs/msg/Quaternion", 0.0, 0.0, 0.0, 1.0)
    )
    label = region.description.label
    result = make(
        "vision_msgs/msg/ObjectHypothesisWithPose",
        make("vision_msgs/msg/ObjectHypothesis", label, float(region.score)),
        make("geometry_msgs/msg/PoseWithCovariance", pose, np.zeros(36)),
    )
    box = _box(region.box)
    return make("vision_msgs/msg/Detection2D", header, [result], box, region.track_id)


def to_regions(scene: Scene, source: Source) -> Any:
    """A deep_perception_msgs/DescribedRegionArray."""
    return make(
        interfaces.REGIONS,
        source.header,
        source.camera,
        source.keyframe,
        source.reason,
        scene.size.width,
        scene.size.height,
        scene.coverage,
        scene.complete,
        [_point(point) for point in scene.skipped_points],
        _text(scene.segmenter),
        _text(scene.segmenter_model),
        [_text(warning) for warning in scene.warnings],
        [_region(region, source) for region in scene.regions],
    )


def _region(region: Region, source: Source) -> Any:
    words, size = region.description, region.rle.size
    attributes = [
        make("diagnostic_msgs/msg/KeyValue", key, value) for key, value in words.attributes.items()
    ]
    return make(
        interfaces.REGION,
        source.header,
        source.camera,
        source.keyframe,
        region.index,
        region.track_id,
        region.point.source,
        _point(region.point),
        _box(region.box),
        make("deep_perception_msgs/msg/RegionMask", size.height, size.width, region.rle.counts),
        region.area,
        region.score,
        words.label,
        words.text,
        attributes,
        words.status,
        words.describer,
        words.model,
        words.prompt_id,
        # How long the words took is no part of a result that is the same every time.
        make("builtin_interfaces/msg/Duration", 0, 0),
        words.truncated,
        words.error,
        _time(region.first_seen_ns),
        _time(region.last_described_ns),
        region.revision,
    )


def _text(text: str) -> str:
    # Of somebody's segmenter: it may hold half a character, which no word of a description does.
    return text.encode(errors="replace").decode()


def _point(point: Point) -> Any:
    return make("vision_msgs/msg/Point2D", float(point.x), float(point.y))


def _box(box: Box) -> Any:
    centre = make("vision_msgs/msg/Point2D", (box.x1 + box.x2) / 2, (box.y1 + box.y2) / 2)
    pose = make("vision_msgs/msg/Pose2D", centre, 0.0)
    return make("vision_msgs/msg/BoundingBox2D", pose, float(box.width), float(box.height))


def _time(stamp_ns: int) -> Any:
    # Of a picture without a stamp it is when it was recorded, which has 64 bits. After January 2038
    # the last moment that there is a stamp for stands for all.
    said_ns = min(max(stamp_ns, _FIRST_NS), _LAST_NS)
    return make("builtin_interfaces/msg/Time", *divmod(said_ns, _NANOSECONDS))
