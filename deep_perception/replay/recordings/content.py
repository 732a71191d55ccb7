"""What the images of a recorded topic show, by their encoding first and by their name second.

A photograph may come from a node whose name contains "depth" or "label", and depth from a topic
that is called "stereo".
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from deep_perception.replay.recordings.bags import RecordedFrame

# The results of an analysis, which also come in colour: those of this package among them.
DERIVED = {"mask", "masks", "label", "labels", "segmentation", "annotated", "compresseddepth"}
DEPTH = {"depth", "disparity"}
# Words behind another word that do not change what it is: labels_map, depth_image, masks_left.
_TRANSPARENT = {
    "color", "colored", "colorized", "colour", "coloured", "front", "image", "img", "left", "map",
    "overlay", "raw", "rear", "rect", "registered", "right", "view", "vis", "viz",
}  # fmt: skip
# A picture of depth for people, not a photograph.
_DRAWN = {"colored", "colorized", "coloured", "colourised", "colorised", "colormap", "overlay"}
_INFRARED = {"gray", "grey", "infra", "infrared", "ir", "lwir", "mono", "nir", "thermal"}
_DEPTH_ENCODINGS = re.compile(r"(16[US]|32[SF]|64F)C1")
_PHOTO_ENCODINGS = re.compile(r"rgb|bgr|bayer|yuv|uyvy|yuyv|nv\d|8UC[34]|16UC[34]|jpe?g", re.I)


def encoding_of(frame: RecordedFrame | None) -> str:
    """The encoding of an image message, or of the pixels in a compressed one; "" if unknown."""
    from deep_perception.replay.recordings import interfaces

    if frame is None or frame.problem:
        return ""
    try:
        message = interfaces.read(frame.data, frame.type)
    except interfaces.InvalidMessage:
        return ""
    if not hasattr(message, "format"):
        return str(message.encoding)
    first, _, rest = str(message.format).partition(";")
    if rest:
        return first.strip()
    data = bytes(message.data[:26])
    # A PNG file without a hint: 16 bits of grey are depth.
    if data.startswith(b"\x89PNG") and len(data) == 26 and data[25] == 0:
        return "16UC1" if data[24] == 16 else "mono8"
    return "jpeg" if "jp" in first.lower() else "rgb8"


def is_photograph(topic: str, encoding: str) -> bool:
    """Whether the images of a topic look like photographs; ``encoding`` may be ""."""
    parts = [re.findall(r"[a-z]+", part.lower()) for part in topic.split("/")]
    if any(_is(part, DERIVED) for part in parts):
        return False
    words = {word for part in parts for word in part}
    at = max((number for number, part in enumerate(parts) if DEPTH & set(part)), default=-1)
    if at < 0:
        return True
    behind = {word for part in parts[at + 1 :] for word in part}
    if _PHOTO_ENCODINGS.match(encoding):
        return not words & _DRAWN
    if encoding.startswith(("mono", "8UC1")):
        # The infrared image of a depth camera.
        return bool(behind & _INFRARED)
    if _DEPTH_ENCODINGS.match(encoding):
        return False
    # Without a message, the name alone: depth_camera/rgb is a photograph, depth/image is none.
    return bool(behind & {"rgb", "bgr", "color", "colour"})


def is_measurement(topic: str, encoding: str) -> bool:
    """Whether the encoding is one of depth, which thermal cameras use as well."""
    words = set(re.findall(r"[a-z]+", topic.lower()))
    return bool(_DEPTH_ENCODINGS.match(encoding)) and not words & _INFRARED


def _is(words: Sequence[str], kinds: set[str]) -> bool:
    """Whether the words of a part of a name end in such a word: a label_printer prints labels."""
    words = list(words)
    while len(words) > 1 and words[-1] in _TRANSPARENT:
        words.pop()
    return bool(words) and words[-1] in kinds
