"""Core objects to messages and back."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
from builtin_interfaces.msg import Duration, Time
from diagnostic_msgs.msg import KeyValue
from sensor_msgs.msg import CompressedImage, Image
from std_msgs.msg import Header
from vision_msgs.msg import (
    BoundingBox2D,
    Detection2D,
    Detection2DArray,
    ObjectHypothesisWithPose,
    Point2D,
)

from deep_perception import encodings, masks
from deep_perception.images import BgrImage
from deep_perception.masks import Box, Rle, Size
from deep_perception.points import Point, PointSource
from deep_perception.regions import Description, Region, Scene, Status
from deep_perception.reports import to_dict
from deep_perception_msgs.msg import DescribedRegion, DescribedRegionArray, RegionMask

NANOSECONDS = 1_000_000_000


@dataclass(frozen=True)
class Keyframe:
    """Which analysed frame of which camera a scene belongs to, with the frame's own header."""

    header: Header
    number: int
    reason: str
    camera: str = ""


def to_image(image: BgrImage, header: Header) -> Image:
    """A bgr8 Image of an HxWx3 BGR picture."""
    height, width = image.shape[:2]
    message = Image(
        header=header, height=height, width=width, encoding="bgr8", step=3 * width, is_bigendian=0
    )
    # An array('B') is taken as it is; every other type is checked element by element.
    data = array("B")
    data.frombytes(np.ascontiguousarray(image).data.cast("B"))
    message.data = data
    return message


def to_compressed_image(image: BgrImage, header: Header, quality: int) -> CompressedImage:
    """A JPEG CompressedImage of an HxWx3 BGR picture."""
    jpeg, kind = encodings.to_jpeg(image, quality)
    data = array("B")
    data.frombytes(jpeg)
    return CompressedImage(header=header, format=kind, data=data)


def to_detections(scene: Scene, keyframe: Keyframe) -> Detection2DArray:
    """One Detection2D a region: class_id is the label, score the mask's, id the track id."""
    return Detection2DArray(
        header=keyframe.header,
        detections=[_detection(region, keyframe.header) for region in scene.regions],
    )


def _detection(region: Region, header: Header) -> Detection2D:
    result = ObjectHypothesisWithPose()
    result.hypothesis.class_id = region.description.label
    result.hypothesis.score = float(region.score)
    return Detection2D(header=header, results=[result], bbox=_bbox(region.box), id=region.track_id)


def _bbox(box: Box) -> BoundingBox2D:
    message = BoundingBox2D(size_x=float(box.width), size_y=float(box.height))
    message.center.position.x = (box.x1 + box.x2) / 2
    message.center.position.y = (box.y1 + box.y2) / 2
    return message


def to_regions(scene: Scene, keyframe: Keyframe) -> DescribedRegionArray:
    """The whole scene."""
    return DescribedRegionArray(
        header=keyframe.header,
        camera=keyframe.camera,
        keyframe=keyframe.number,
        reason=keyframe.reason,
        width=scene.size.width,
        height=scene.size.height,
        coverage=scene.coverage,
        complete=scene.complete,
        skipped_points=[_point(point) for point in scene.skipped_points],
        segmenter=scene.segmenter,
        segmenter_model=scene.segmenter_model,
        warnings=list(scene.warnings),
        regions=[to_region(region, keyframe) for region in scene.regions],
    )


def to_region(region: Region, keyframe: Keyframe) -> DescribedRegion:
    """One region with its words."""
    words = region.description
    return DescribedRegion(
        header=keyframe.header,
        camera=keyframe.camera,
        keyframe=keyframe.number,
        index=region.index,
        track_id=region.track_id,
        source=region.point.source,
        point=_point(region.point),
        bbox=_bbox(region.box),
        mask=RegionMask(
            height=region.rle.size.height, width=region.rle.size.width, counts=region.rle.counts
        ),
        area=region.area,
        score=region.score,
        label=words.label,
        description=words.text,
        attributes=[KeyValue(key=key, value=value) for key, value in words.attributes.items()],
        status=words.status,
        describer=words.describer,
        model=words.model,
        prompt_id=words.prompt_id,
        latency=_duration(words.latency_s),
        truncated=words.truncated,
        error=words.error,
        first_seen=to_time(region.first_seen_ns),
        last_described=to_time(region.last_described_ns),
        revision=region.revision,
    )


def to_json_dict(scene: Scene, keyframe: Keyframe) -> dict[str, Any]:
    """The scene without masks for an agent that reads text, dated by the source's header."""
    stamp = keyframe.header.stamp
    return {
        "stamp": stamp.sec + stamp.nanosec / NANOSECONDS,
        "frame_id": keyframe.header.frame_id,
        "camera": keyframe.camera,
        "keyframe": keyframe.number,
        "reason": keyframe.reason,
        **to_dict(scene, with_masks=False),
    }


def _point(point: Point) -> Point2D:
    return Point2D(x=float(point.x), y=float(point.y))


def to_time(stamp_ns: int) -> Time:
    """The stamp of nanoseconds."""
    return Time(sec=stamp_ns // NANOSECONDS, nanosec=stamp_ns % NANOSECONDS)


def stamp_ns(stamp: Time) -> int:
    """Nanoseconds of a stamp."""
    return int(stamp.sec * NANOSECONDS + stamp.nanosec)


def _duration(seconds: float) -> Duration:
    nanoseconds = round(seconds * NANOSECONDS)
    return Duration(sec=nanoseconds // NANOSECONDS, nanosec=nanoseconds % NANOSECONDS)


def from_regions(message: DescribedRegionArray) -> Scene:
    """The scene of a message; masks are at source size. What a message lacks has its default."""
    size = Size(message.width, message.height)
    return Scene(
        size=size,
        working_size=size,
        regions=tuple(_region(each) for each in message.regions),
        coverage=message.coverage,
        skipped_points=tuple(
            Point(int(point.x), int(point.y), "grid") for point in message.skipped_points
        ),
        proposed_points=0,
        segmenter=message.segmenter,
        segmenter_model=message.segmenter_model,
        warnings=tuple(message.warnings),
    )


def _region(message: DescribedRegion) -> Region:
    rle = Rle(Size(message.mask.width, message.mask.height), message.mask.counts)
    centre, box = message.bbox.center.position, message.bbox
    return Region(
        index=message.index,
        point=Point(int(message.point.x), int(message.point.y), cast(PointSource, message.source)),
        box=Box(
            round(centre.x - box.size_x / 2),
            round(centre.y - box.size_y / 2),
            round(centre.x + box.size_x / 2),
            round(centre.y + box.size_y / 2),
        ),
        working_mask=masks.decode(rle),
        rle=rle,
        area=message.area,
        score=message.score,
        track_id=message.track_id,
        first_seen_ns=stamp_ns(message.first_seen),
        last_described_ns=stamp_ns(message.last_described),
        revision=message.revision,
        description=Description(
            status=cast(Status, message.status),
            label=message.label,
            text=message.description,
            attributes=_attributes(message.attributes),
            describer=message.describer,
            model=message.model,
            prompt_id=message.prompt_id,
            latency_s=message.latency.sec + message.latency.nanosec / NANOSECONDS,
            truncated=message.truncated,
            error=message.error,
        ),
    )


def _attributes(pairs: Sequence[Any]) -> dict[str, str]:
    return {pair.key: pair.value for pair in pairs}
