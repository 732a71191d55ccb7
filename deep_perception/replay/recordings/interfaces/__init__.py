"""The message types of a replay: those of ROS 2 Jazzy, and those of the .msg files here.

Each .msg file is a complete definition, followed by the types that it uses, as in an .mcap file.
"""

from __future__ import annotations

import struct
from functools import cache
from pathlib import Path
from typing import Any

from rosbags.serde import SerdeError
from rosbags.typesys import Stores, get_types_from_msg, get_typestore

IMAGE, COMPRESSED_IMAGE = "sensor_msgs/msg/Image", "sensor_msgs/msg/CompressedImage"
DETECTIONS = "vision_msgs/msg/Detection2DArray"
REGIONS = "deep_perception_msgs/msg/DescribedRegionArray"
REGION = "deep_perception_msgs/msg/DescribedRegion"
# The exceptions of the deserializer for damaged bytes.
_BROKEN = (SerdeError, ValueError, LookupError, AssertionError, struct.error)


class InvalidMessage(ValueError):
    """Bytes are no message of the expected type; the text says why."""


@cache
def store() -> Any:
    """Return the typestore of rosbags with all types of a replay."""
    types = get_typestore(Stores.ROS2_JAZZY)
    for name in (DETECTIONS, REGIONS):
        types.register(get_types_from_msg(definition(name), name))
    return types


@cache
def definition(name: str) -> str:
    """Return the definition of a type and of all types that it uses."""
    file = Path(__file__).with_name(f"{name.rpartition('/')[2]}.msg")
    if file.exists():
        return file.read_text(encoding="utf-8")
    return str(store().generate_msgdef(name, ros_version=2)[0])


def type_hash(name: str) -> str:
    """Return the hash of a type, ``RIHS01_...`` (REP 2016)."""
    return str(store().hash_rihs01(name))


def read(data: bytes, name: str) -> Any:
    """Return the message of CDR bytes. Raises InvalidMessage."""
    try:
        return store().deserialize_cdr(data, name)
    except _BROKEN as error:
        raise InvalidMessage(f"{len(data)} bytes are no {name} ({error})") from None


def write(message: Any) -> bytes:
    """Return the CDR bytes of a message, little-endian on every machine."""
    return bytes(store().serialize_cdr(message, message.__msgtype__, little_endian=True))


def make(name: str, **fields: Any) -> Any:
    """Return a message of a type from all of its fields."""
    return store().types[name](**fields)


def to_cdr(raw: bytes, name: str) -> bytes:
    """Return the bytes of a ROS 1 message as CDR. Raises InvalidMessage."""
    try:
        return bytes(store().ros1_to_cdr(raw, name))
    except _BROKEN as error:
        raise InvalidMessage(f"{len(raw)} bytes are no {name} of ROS 1 ({error})") from None
