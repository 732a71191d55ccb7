"""Recordings for tests: every kind of bag, written by the usual libraries."""

import itertools
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import yaml
from mcap.writer import CompressionType, IndexType
from mcap.writer import Writer as McapFile
from rosbags import rosbag1
from rosbags.rosbag2 import CompressionFormat, CompressionMode, StoragePlugin, Writer
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

IMAGE, COMPRESSED = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
TOPIC, FRAME_ID = "/camera/image_raw", "camera_optical_frame"
START_NS, RATE_HZ = 1_767_225_600_000_000_000, 10
PHOTOGRAPHS = [
    Path(__file__).parents[1] / "data" / f"{name}.jpg" for name in ("coffee", "rocket", "chelsea")
]
STORE, ROS1 = get_typestore(Stores.ROS2_JAZZY), get_typestore(Stores.ROS1_NOETIC)
CUSTOM = "robot_msgs/msg/Wheels"
STORE.register(get_types_from_msg("float64[4] speeds\nstring note\n", CUSTOM))
ROS1.register(get_types_from_msg("float64[4] speeds\nstring note\n", CUSTOM))


class Recorded(NamedTuple):
    """A message of a recording; ``data`` is CDR, also if it is written as ROS 1."""

    topic: str
    type: str
    log_ns: int
    data: bytes


# -- the view of the camera --------------------------------------------------------------------


def moving_scene(frames, size=(160, 120), cut_every=20):
    """Frames (HxWx3 uint8 BGR): two objects move over a photograph, then over the next one."""
    width, height = size
    for number in range(frames):
        scene, step = divmod(number, cut_every)
        picture = cv2.imread(str(PHOTOGRAPHS[scene % len(PHOTOGRAPHS)]))
        frame = cv2.resize(picture, size, interpolation=cv2.INTER_AREA)
        x = width // 8 + step * width // (2 * cut_every)
        cv2.rectangle(frame, (x, height // 6), (x + width // 5, height // 2), (40, 40, 230), -1)
        centre = (width - width // 6, height // 4 + step * height // (2 * cut_every))
        cv2.circle(frame, centre, height // 8, (230, 200, 40), -1)
        yield frame


# -- messages ----------------------------------------------------------------------------------


def cdr(type_, **fields):
    """The CDR bytes of a message of the typestore ``STORE``."""
    return bytes(STORE.serialize_cdr(STORE.types[type_](**fields), type_))


def header(stamp_ns, frame_id=FRAME_ID):
    time = STORE.types["builtin_interfaces/msg/Time"](*divmod(stamp_ns, 1_000_000_000))
    return STORE.types["std_msgs/msg/Header"](time, frame_id)


def image(frame, stamp_ns, *, frame_id=FRAME_ID, encoding="bgr8"):
    """The CDR bytes of a ``sensor_msgs/Image``: the frame's own bytes, whatever the encoding."""
    height, width = frame.shape[:2]
    return cdr(
        IMAGE,
        header=header(stamp_ns, frame_id),
        height=height,
        width=width,
        encoding=encoding,
        is_bigendian=0,
        step=frame.nbytes // height,
        data=np.ascontiguousarray(frame).reshape(-1).view(np.uint8),
    )


def compressed_image(frame, stamp_ns, *, frame_id=FRAME_ID, suffix=".jpg"):
    """The CDR bytes of a ``sensor_msgs/CompressedImage``: JPEG, or PNG."""
    encoded = cv2.imencode(suffix, frame)[1]
    return cdr(
        COMPRESSED,
        header=header(stamp_ns, frame_id),
        format=f"bgr8; {'jpeg' if suffix == '.jpg' else 'png'} compressed bgr8",
        data=encoded.reshape(-1),
    )


def camera(frames, topic=TOPIC, *, compressed_images=False, start_ns=START_NS, rate_hz=RATE_HZ,
           frame_id=FRAME_ID, delay_ns=1_000_000):  # fmt: skip
    """A camera's messages, each recorded ``delay_ns`` after its stamp."""
    for number, frame in enumerate(frames):
        stamp = start_ns + number * 1_000_000_000 // rate_hz
        make, kind = (compressed_image, COMPRESSED) if compressed_images else (image, IMAGE)
        yield Recorded(topic, kind, stamp + delay_ns, make(frame, stamp, frame_id=frame_id))


def words(count, topic="/said", start_ns=START_NS):
    """``count`` messages without images, ten a second."""
    for number in range(count):
        data = cdr("std_msgs/msg/String", data=f"word {number}")
        yield Recorded(topic, "std_msgs/msg/String", start_ns + number * 100_000_000, data)


def wheels(count, topic="/wheels", start_ns=START_NS):
    """``count`` messages of a type that only the bag itself defines."""
    for number in range(count):
        data = cdr(CUSTOM, speeds=np.full(4, float(number)), note="turning")
        yield Recorded(topic, CUSTOM, start_ns + number * 100_000_000, data)


def together(*streams):
    """Messages in the order of recording."""
    return sorted(itertools.chain(*streams), key=lambda message: message.log_ns)


# -- bags --------------------------------------------------------------------------------------


def write_bag(path, frames, *, topic=TOPIC, storage="mcap", compression="", **of_camera):
    """A bag of one camera; see ``write`` and ``camera``. Returns its path."""
    return write(path, camera(frames, topic, **of_camera), storage=storage, compression=compression)


def write(path, recorded, *, storage="mcap", compression="", definitions=None, **of_file):
    """Write messages, in the order given, and return the path.

    ``storage``: mcap or sqlite3 (a rosbag2 folder), file (a bare .mcap file), ros1 (a .bag file).
    ``compression``: of an mcap folder zstd, of both folders file or message, of a file lz4 or
    zstd, of ROS 1 bz2 or lz4. ``definitions``: texts of types instead of the right ones.
    ``of_file``: options of ``write_mcap``.
    """
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    if storage == "file":
        write_mcap(path, recorded, compression=compression, definitions=definitions, **of_file)
    elif storage == "ros1":
        _write_ros1(path, recorded, compression)
    else:
        _write_folder(path, recorded, StoragePlugin[storage.upper()], compression, definitions)
    return path


def _write_folder(path, recorded, plugin, compression, definitions):
    modes = {"zstd": CompressionMode.STORAGE, "file": CompressionMode.FILE,
             "message": CompressionMode.MESSAGE, "": CompressionMode.NONE}  # fmt: skip
    writer = Writer(path, version=9, storage_plugin=plugin)
    writer.set_compression(modes[compression], CompressionFormat.ZSTD)
    connections = {}
    with writer:
        for topic, kind, log_ns, data in recorded:
            if topic not in connections:
                text = (definitions or {}).get(kind)
                hashed = {"msgdef": text, "rihs01": "RIHS01_" + 64 * "0"} if text else {}
                connections[topic] = writer.add_connection(topic, kind, typestore=STORE, **hashed)
            writer.write(connections[topic], log_ns, data)


def _write_ros1(path, recorded, compression):
    writer = rosbag1.Writer(path)
    if compression:
        writer.set_compression(rosbag1.Writer.CompressionFormat[compression.upper()])
    connections = {}
    with writer:
        for topic, kind, log_ns, data in recorded:
            if topic not in connections:
                connections[topic] = writer.add_connection(topic, kind, typestore=ROS1)
            writer.write(connections[topic], log_ns, STORE.cdr_to_ros1(data, kind))


def write_mcap(path, recorded, *, compression="", definitions=None, chunk_size=65536,
               chunked=True, indexed=True, finished=True):  # fmt: skip
    """A single .mcap file. Not ``finished``: as a killed recorder leaves it."""
    kinds = {"": CompressionType.NONE, "lz4": CompressionType.LZ4, "zstd": CompressionType.ZSTD}
    with Path(path).open("wb") as file:
        writer = McapFile(
            file,
            chunk_size=chunk_size,
            compression=kinds[compression],
            index_types=IndexType.ALL if indexed else IndexType.NONE,
            repeat_channels=indexed,
            repeat_schemas=indexed,
            use_chunking=chunked,
            use_statistics=indexed,
            use_summary_offsets=indexed,
        )
        writer.start(profile="ros2", library="test")
        schemas, channels = {}, {}
        for topic, kind, log_ns, data in recorded:
            if kind not in schemas:
                text = (definitions or {}).get(kind) or STORE.generate_msgdef(kind, ros_version=2)[
                    0
                ]
                schemas[kind] = writer.register_schema(kind, "ros2msg", text.encode())
            if topic not in channels:
                channels[topic] = writer.register_channel(topic, "cdr", schemas[kind])
            writer.add_message(channels[topic], log_ns, data, log_ns)
        if finished:
            writer.finish()


def write_split(path, parts, *, storage="mcap", compression=""):
    """A rosbag2 folder of several files, one a part."""
    path = Path(path)
    path.mkdir(parents=True)
    found = []
    for number, part in enumerate(parts):
        written = write(
            path / f"part_{number}", part, storage=storage, compression=compression
        )  # fmt: skip
        content = yaml.safe_load((written / "metadata.yaml").read_text())
        found.append(content["rosbag2_bagfile_information"])
        for file in written.iterdir():
            if file.name != "metadata.yaml":
                file.rename(path / file.name)
            else:
                file.unlink()
        written.rmdir()
    (path / "metadata.yaml").write_text(
        yaml.safe_dump({"rosbag2_bagfile_information": _joined(found)})
    )
    return path


def _joined(parts):
    starts = [part["starting_time"]["nanoseconds_since_epoch"] for part in parts]
    ends = [
        start + part["duration"]["nanoseconds"] for start, part in zip(starts, parts, strict=True)
    ]
    topics = {}
    for part in parts:
        for topic in part["topics_with_message_count"]:
            name = topic["topic_metadata"]["name"]
            known = topics.setdefault(name, {**topic, "message_count": 0})
            known["message_count"] += topic["message_count"]
    return {
        **parts[0],
        "relative_file_paths": [part["relative_file_paths"][0] for part in parts],
        "files": [part["files"][0] for part in parts],
        "starting_time": {"nanoseconds_since_epoch": min(starts)},
        "duration": {"nanoseconds": max(ends) - min(starts)},
        "message_count": sum(part["message_count"] for part in parts),
        "topics_with_message_count": list(topics.values()),
    }
