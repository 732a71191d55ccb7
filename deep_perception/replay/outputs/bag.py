"""A recording with what was found in it: a bag for Foxglove, rviz and ``ros2 bag play``."""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from rosbags.interfaces import (
    Connection,
    Qos,
    QosDurability,
    QosHistory,
    QosLiveliness,
    QosReliability,
    QosTime,
)
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer

from deep_perception import drawing
from deep_perception.replay.journal.scenes import SceneRecord
from deep_perception.replay.outputs.messages import (
    keyframe_of,
    to_annotated,
    to_detections,
    to_regions,
)
from deep_perception.replay.recordings import interfaces
from deep_perception.replay.recordings.bags import Frame, Recording
from deep_perception.replay.recordings.storage import BagError
from deep_perception.settings import OutputSettings

Images = Literal["all", "keyframes", "none"]

ROOT = "/analyzer"
RESULTS = {
    "detections": interfaces.DETECTIONS,
    "regions": interfaces.REGIONS,
    "annotated/compressed": interfaces.COMPRESSED_IMAGE,
}
# A camera's topic without these ends is the camera's name.
_ENDS = ("image", "image_raw", "image_rect", "image_color", "image_mono", "image_rect_color",
         "image_rect_raw", "image_rect_mono", "compressed")  # fmt: skip
# Version 8 is read by every rosbag2 from Humble on; Humble does not read version 9.
_VERSION: Literal[8] = 8
_FOREVER = QosTime(2147483647, 4294967295)


def _qos(depth: int, durability: QosDurability) -> Qos:
    return Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE, durability, _FOREVER, _FOREVER,
               QosLiveliness.AUTOMATIC, _FOREVER, False)  # fmt: skip


RELIABLE = _qos(10, QosDurability.VOLATILE)
LATCHED = _qos(1, QosDurability.TRANSIENT_LOCAL)


def cameras_of(topics: Iterable[str]) -> dict[str, str]:
    """The name of each topic's camera, "" when there is only one.

    It is the topic without ``image_raw``, ``compressed`` and the like at its end, where that tells
    the topics apart.
    """
    names = sorted(set(topics))
    if len(names) == 1:
        return {names[0]: ""}
    cameras = {topic: _camera(topic) for topic in names}
    taken = list(cameras.values())
    return {
        topic: camera if taken.count(camera) == 1 else topic.strip("/")
        for topic, camera in cameras.items()
    }


def output_names(topics: Iterable[str]) -> dict[str, str]:
    """Under which name the results of each topic go: ``/analyzer``, or ``/analyzer/<camera>``."""
    cameras, root = cameras_of(topics), ROOT
    while True:
        names = {topic: f"{root}/{camera}" if camera else root for topic, camera in cameras.items()}
        if not any(f"{name}/{end}" in cameras for name in names.values() for end in RESULTS):
            return names
        # What is replayed is a bag of ours.
        root += ROOT


def _camera(topic: str) -> str:
    parts = topic.strip("/").split("/")
    while len(parts) > 1 and parts[-1] in _ENDS:
        parts.pop()
    return "/".join(parts)


def write_bag(
    folder: Path,
    recording: Recording,
    topics: Sequence[str],
    seen: Iterable[SceneRecord],
    *,
    images: Images,
    settings: OutputSettings,
    start_ns: int | None = None,
    stop_ns: int | None = None,
) -> None:
    """Write a folder of rosbag2 (mcap) in the place of one that may be there.

    ``seen``: the scenes of ``recording.frames(topics, start_ns, stop_ns)`` in their order. The same
    input gives the same bytes. Raises BagError when the recording does not have a scene's frame,
    and EncodingError when that is no picture.
    """
    # Made under another name beside it, so that a crash leaves no half bag. The file is named after
    # the folder that it is made in: always the same, wherever it comes to lie.
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    made = beside / "bag"
    try:
        with ExitStack() as stack:
            writer = Writer(made, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            stack.enter_context(writer)
            bag = _Bag(writer, recording, topics, images, settings)
            bag.write(recording.frames(topics, start_ns, stop_ns), seen)
        if folder.exists():
            folder.rename(beside / "old")
        made.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _Bag:
    """The topics of a bag that is being written."""

    def __init__(
        self,
        writer: Writer,
        recording: Recording,
        topics: Sequence[str],
        images: Images,
        settings: OutputSettings,
    ) -> None:
        self._writer, self._images, self._settings = writer, images, settings
        self._path = recording.path
        self._cameras, self._names = cameras_of(topics), output_names(topics)
        self._topics: dict[str, Connection] = {}
        for topic in sorted(self._names):
            kind, _ = recording.image_topics[topic]
            if images != "none":
                self._add(topic, kind, RELIABLE)
            for end, made in RESULTS.items():
                latched = made == interfaces.REGIONS
                self._add(f"{self._names[topic]}/{end}", made, LATCHED if latched else RELIABLE)

    def _add(self, topic: str, kind: str, qos: Qos) -> None:
        self._topics[topic] = self._writer.add_connection(
            topic,
            kind,
            msgdef=interfaces.definition(kind),
            rihs01=interfaces.type_hash(kind),
            offered_qos_profiles=[qos],
        )

    def write(self, frames: Iterable[Frame], seen: Iterable[SceneRecord]) -> None:
        """Each image and what was found in it, by the time of recording."""
        scenes = iter(seen)
        scene = next(scenes, None)
        for frame in frames:
            found = scene is not None and scene.position == frame.position
            if self._images == "all" or (self._images == "keyframes" and found):
                self._copy(frame)
            if scene is not None and found:
                if (scene.topic, scene.log_ns) != (frame.topic, frame.log_ns):
                    break
                self._write_scene(frame, scene)
                scene = next(scenes, None)
        if scene is not None:
            raise BagError(
                f"{self._path}: this recording has no image {scene.position} of {scene.topic} at "
                f"{scene.log_ns} ns; the scenes are of another one, or of other topics"
            )

    def _copy(self, frame: Frame) -> None:
        # What a broken ROS 1 message was cannot be said in CDR.
        if not frame.problem:
            self._writer.write(self._topics[frame.topic], frame.log_ns, frame.data)

    def _write_scene(self, frame: Frame, seen: SceneRecord) -> None:
        keyframe = keyframe_of(frame.data, seen, camera=self._cameras[frame.topic])
        picture = drawing.annotate(seen.scene, frame.picture(), label=self._settings.labels)
        for message in (
            to_detections(seen.scene, keyframe),
            to_regions(seen.scene, keyframe),
            to_annotated(picture, keyframe, self._settings.jpeg_quality),
        ):
            (end,) = (end for end, kind in RESULTS.items() if kind == message.__msgtype__)
            topic = self._topics[f"{self._names[frame.topic]}/{end}"]
            self._writer.write(topic, frame.log_ns, interfaces.write(message))
