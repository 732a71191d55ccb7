"""Write a bag of a camera that moves over photographs: pan, zoom and changing light."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from rosbags.rosbag2 import StoragePlugin, Writer
from rosbags.typesys import Stores, get_typestore

from deep_perception.stamps import NANOSECONDS

TOPIC, FRAME_ID = "/camera/image_raw", "camera_optical_frame"
WIDTH, HEIGHT, RATE_HZ = 960, 720, 10
SECONDS_PER_PHOTOGRAPH = 3.0
# A fixed date makes the recording the same on every machine.
START_NS = 1_767_225_600 * NANOSECONDS


def write(bag: Path, photographs: list[Path]) -> int:
    """Write the bag (mcap) into a folder that does not exist yet; returns the number of frames."""
    store = get_typestore(Stores.ROS2_JAZZY)
    image_type = store.types["sensor_msgs/msg/Image"]
    header_type = store.types["std_msgs/msg/Header"]
    time_type = store.types["builtin_interfaces/msg/Time"]
    frames = 0
    with Writer(bag, version=9, storage_plugin=StoragePlugin.MCAP) as writer:
        connection = writer.add_connection(TOPIC, image_type.__msgtype__, typestore=store)
        for frames, frame in enumerate(_camera(photographs), start=1):
            stamp = START_NS + (frames - 1) * NANOSECONDS // RATE_HZ
            message = image_type(
                header=header_type(time_type(*divmod(stamp, NANOSECONDS)), FRAME_ID),
                height=HEIGHT,
                width=WIDTH,
                encoding="bgr8",
                is_bigendian=0,
                step=3 * WIDTH,
                data=frame.reshape(-1),
            )
            data = store.serialize_cdr(message, image_type.__msgtype__)
            writer.write(connection, stamp, data)
    return frames


def _camera(photographs: list[Path]) -> Iterator[NDArray[np.uint8]]:
    count = round(SECONDS_PER_PHOTOGRAPH * RATE_HZ)
    for number, path in enumerate(photographs):
        photograph = cv2.imread(str(path))
        if photograph is None:
            raise FileNotFoundError(f"{path}: cannot be read")
        for step in range(count):
            yield _view(np.asarray(photograph, np.uint8), number, step / (count - 1))


def _view(photograph: NDArray[np.uint8], number: int, time: float) -> NDArray[np.uint8]:
    """The frame at ``time`` 0..1: a window that moves over the photograph and grows or shrinks."""
    height, width = photograph.shape[:2]
    widest = min(width, height * WIDTH / HEIGHT)
    ease = (1 - math.cos(math.pi * time)) / 2
    inward = number % 2 == 0
    span = widest * (1.0 - 0.28 * (ease if inward else 1 - ease))
    scale = WIDTH / span
    # The window pans across the rest of the photograph.
    free_x, free_y = width - span, height - span * HEIGHT / WIDTH
    x = free_x * (0.5 + 0.5 * math.sin(math.pi * (time - 0.5)))
    y = free_y * (0.25 + 0.25 * math.cos(2 * math.pi * time))
    view = np.array([[scale, 0, -x * scale], [0, scale, -y * scale]])
    frame = cv2.warpAffine(photograph, view, (WIDTH, HEIGHT), flags=cv2.INTER_LANCZOS4)
    brightness = 1.0 + 0.12 * math.sin(2 * math.pi * time)
    return np.clip(frame * brightness, 0, 255).astype(np.uint8)
