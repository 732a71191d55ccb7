"""Recordings of every kind for tests, and what is read from them."""

import numpy as np
import pytest

from deep_perception.replay.recordings.bags import BagError, Recording
from support import bags
from support.bags import START_NS

KINDS = [("mcap", ""), ("mcap", "zstd"), ("mcap", "file"), ("mcap", "message"), ("sqlite3", ""),
         ("sqlite3", "file"), ("sqlite3", "message"), ("file", ""), ("file", "lz4"),
         ("file", "zstd"), ("ros1", ""), ("ros1", "bz2"), ("ros1", "lz4")]  # fmt: skip
SUFFIX = {"file": ".mcap", "ros1": ".bag"}
LEFT, RIGHT = "/left/image_raw", "/right/image_raw"


def seen(frames):
    """All that a frame says."""
    return [(f.topic, f.type, f.position, f.log_ns, f.stamp_ns, f.frame_id, f.data) for f in frames]


def read(path, **limits):
    """(frames of all image topics, warnings) of a recording."""
    with Recording(path) as recording:
        return list(recording.frames(list(recording.image_topics), **limits)), recording.warnings


def one_line(path):
    """What a recording that cannot be read says."""
    with pytest.raises(BagError) as caught:
        read(path)
    message = str(caught.value)
    assert "\n" not in message and message.startswith(str(path))
    return message


def pixels(*values):
    """Messages whose log times are the values, each a picture of one grey value: its number."""
    return [
        bags.Recorded(topic, bags.IMAGE, START_NS + at,
                      bags.image(np.full((2, 2, 3), number, np.uint8), START_NS + at))
        for number, (topic, at) in enumerate(values)
    ]  # fmt: skip
