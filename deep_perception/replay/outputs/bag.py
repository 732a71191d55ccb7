"""The output bag: a recording with its results, for Foxglove, rviz and ``ros2 bag play``."""

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
from deep_perception.replay.recordings.bags import RecordedFrame, Recording
from deep_perception.replay.recordings.storage import BagError
from deep_perception.settings import OutputSettings

Images = Literal["all", "keyframes", "none"]

ROOT = "/analyzer"
RESULTS = {
    "detections": interfaces.DETECTIONS,
    "regions": interfaces.REGIONS,
    "annotated/compressed": interfaces.COMPRESSED_IMAGE,
}
# The name of a camera is its topic without these trailing parts.
_ENDINGS = ("image", "image_raw", "image_rect", "image_color", "image_mono", "image_rect_color",
         "image_rect_raw", "image_rect_mono", "compressed")  # fmt: skip
# Every rosbag2 from Humble on reads version 8; Humble does not read version 9.
_VERSION: Literal[8] = 8
_FOREVER = QosTime(2147483647, 4294967295)


def _qos(depth: int, durability: QosDurability) -> Qos:
    return Qos(QosHistory.KEEP_LAST, depth, QosReliability.RELIABLE, durability, _FOREVER, _FOREVER,
               QosLiveliness.AUTOMATIC, _FOREVER, False)  # fmt: skip


RELIABLE = _qos(10, QosDurability.VOLATILE)
LATCHED = _qos(1, QosDurability.TRANSIENT_LOCAL)


def cameras_of(topics: Iterable[str]) -> dict[str, str]:
    """Return the name of each topic's camera, "" if there is only one.

    It is the topic without trailing ``image_raw``, ``compressed`` and similar parts, if such names
    are unique.
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
    """Return the namespace of each topic's results: ``/analyzer`` or ``/analyzer/<camera>``."""
    cameras, root = cameras_of(topics), ROOT
    while True:
        names = {topic: f"{root}/{camera}" if camera else root for topic, camera in cameras.items()}
        if not any(f"{name}/{result}" in cameras for name in names.values() for result in RESULTS):
            return names
        # The recording is itself the output of a replay, so that its topics have these names.
        root += ROOT


def _camera(topic: str) -> str:
    parts = topic.strip("/").split("/")
    while len(parts) > 1 and parts[-1] in _ENDINGS:
        parts.pop()
    return "/".join(parts)


def write_bag(
    folder: Path,
    recording: Recording,
    topics: Sequence[str],
    records: Iterable[SceneRecord],
    *,
    images: Images,
    settings: OutputSettings,
    start_ns: int | None = None,
    stop_ns: int | None = None,
) -> None:
    """Write a folder of rosbag2 (mcap), which replaces an existing one.

    ``records`` are scenes of ``recording.frames(topics, start_ns, stop_ns)`` in their order. The
    same input gives the same bytes. Raises BagError if the recording does not contain the frame of
    a scene, and EncodingError if that is no image.
    """
    # The bag is written beside the folder, so that a crash leaves no incomplete bag. The writer
    # names its file after the folder, which therefore always has the same name.
    beside = folder.with_name(f".{folder.name}.part")
    shutil.rmtree(beside, ignore_errors=True)
    new = beside / "bag"
    try:
        with ExitStack() as stack:
            writer = Writer(new, version=_VERSION, storage_plugin=StoragePlugin.MCAP)
            writer.set_compression(CompressionMode.STORAGE, CompressionFormat.ZSTD)
            stack.enter_context(writer)
            bag = _Bag(writer, recording, topics, images, settings)
            bag.write(recording.frames(topics, start_ns, stop_ns), records)
        if folder.exists():
            folder.rename(beside / "old")
        new.rename(folder)
    finally:
        shutil.rmtree(beside, ignore_errors=True)


class _Bag:
    """Writes the topics of a bag."""

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
            for result, result_type in RESULTS.items():
                qos = LATCHED if result_type == interfaces.REGIONS else RELIABLE
                self._add(f"{self._names[topic]}/{result}", result_type, qos)

    def _add(self, topic: str, kind: str, qos: Qos) -> None:
        self._topics[topic] = self._writer.add_connection(
            topic,
            kind,
            msgdef=interfaces.definition(kind),
            rihs01=interfaces.type_hash(kind),
            offered_qos_profiles=[qos],
        )

    def write(self, frames: Iterable[RecordedFrame], records: Iterable[SceneRecord]) -> None:
        """Write each image and its results, by the time of recording."""
        remaining = iter(records)
        record = next(remaining, None)
        for frame in frames:
            keyframe = record is not None and record.position == frame.position
            if self._images == "all" or (self._images == "keyframes" and keyframe):
                self._copy(frame)
            if record is not None and keyframe:
                if (record.topic, record.log_ns) != (frame.topic, frame.log_ns):
                    break
                self._write_scene(frame, record)
                record = next(remaining, None)
        if record is not None:
            raise BagError(
                f"{self._path}: this recording has no image {record.position} of {record.topic} at "
                f"{record.log_ns} ns; the scenes are of another recording, or of other topics"
            )

    def _copy(self, frame: RecordedFrame) -> None:
        # A broken ROS 1 message has no CDR form, so it is left out.
        if not frame.problem:
            self._writer.write(self._topics[frame.topic], frame.log_ns, frame.data)

    def _write_scene(self, frame: RecordedFrame, record: SceneRecord) -> None:
        keyframe = keyframe_of(frame.data, record, camera=self._cameras[frame.topic])
        labels, opacity = self._settings.labels, self._settings.opacity
        image = frame.image(record.scene.intensity_range)
        annotated = drawing.annotate(record.scene, image, label=labels, opacity=opacity)
        messages = {
            "detections": to_detections(record.scene, keyframe),
            "regions": to_regions(record.scene, keyframe),
            "annotated/compressed": to_annotated(annotated, keyframe, self._settings.jpeg_quality),
        }
        for result, message in messages.items():
            topic = self._topics[f"{self._names[frame.topic]}/{result}"]
            self._writer.write(topic, frame.log_ns, interfaces.write(message))
