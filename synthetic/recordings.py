"""Recordings for the benchmarks of replays, written frame by frame."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deep_perception.images import BgrImage
from synthetic.photographs import PHOTOGRAPHS, photograph

TOPIC, START_NS = "/camera/image/compressed", 1_767_225_600_000_000_000


def scenes(
    count: int, *, width: int, height: int, cut_every: int, moving: bool = True
) -> Iterator[BgrImage]:
    """Yield frames of an object that moves, or stands, in front of one photograph after another."""
    views = [photograph(width, height, number) for number in range(len(PHOTOGRAPHS))]
    for number in range(count):
        part, step = divmod(number, cut_every)
        frame = views[part % len(views)].copy()
        # The object has another position in each part, so that no two parts are the same.
        x = part * 37 + moving * step * width // (2 * cut_every)
        x %= width - width // 5
        cv2.rectangle(frame, (x, height // 4), (x + width // 5, height // 2), (40, 40, 230), -1)
        yield frame


def write(bag: Path, frames: Iterator[BgrImage], rate_hz: float) -> Path:
    """Write a folder of rosbag2 (mcap) with JPEG images."""
    store = get_typestore(Stores.ROS2_JAZZY)
    types = store.types
    kind = "sensor_msgs/msg/CompressedImage"
    with Writer(bag, version=8, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, kind, typestore=store)
        for number, frame in enumerate(frames):
            stamp = START_NS + int(number * 1e9 / rate_hz)
            _, data = cv2.imencode(".jpg", frame)
            time = types["builtin_interfaces/msg/Time"](*divmod(stamp, 1_000_000_000))
            message = types[kind](
                header=types["std_msgs/msg/Header"](time, "camera"),
                format="jpeg",
                data=np.asarray(data, np.uint8).reshape(-1),
            )
            writer.write(connection, stamp, store.serialize_cdr(message, kind))
    return bag
