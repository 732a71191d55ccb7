"""Write the message definitions for the bags of a replay: python tools/replay_interfaces.py.

They consist of the .msg files of deep_perception_msgs and vision_msgs, and of the ROS types that
those use, which rosbags contains for ROS 2 Jazzy. A test checks that they are up to date.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rosbags.typesys import Stores, get_types_from_msg, get_typestore

ROOT = Path(__file__).resolve().parent.parent
TARGET = ROOT / "deep_perception" / "replay" / "recordings" / "interfaces"
TYPES = ("vision_msgs/msg/Detection2DArray", "deep_perception_msgs/msg/DescribedRegionArray")
OURS = {
    "vision_msgs": ROOT / "tools" / "ros" / "vision_msgs" / "msg",
    "deep_perception_msgs": ROOT / "deep_perception_msgs" / "msg",
}
JAZZY = get_typestore(Stores.ROS2_JAZZY)
LINE = "=" * 80


def definition(name: str) -> str:
    """A type's text, and behind it that of each type that it needs, as .mcap files hold it."""
    first, *others = dict.fromkeys(_with_dependencies(name))
    parts = [f"{LINE}\nMSG: {other.replace('/msg/', '/')}\n{_text(other)}" for other in others]
    return "".join([_text(first), *parts])


def _with_dependencies(name: str) -> Iterator[str]:
    yield name
    _, fields = get_types_from_msg(_text(name), name)[name]
    for _, (_, kind) in fields:
        while isinstance(kind, tuple):
            kind = kind[0] if isinstance(kind[0], str) else kind[0][1]
        if isinstance(kind, str) and "/msg/" in kind:
            yield from _with_dependencies(kind)


def _text(name: str) -> str:
    package, _, kind = name.split("/")
    if package in OURS:
        return (OURS[package] / f"{kind}.msg").read_text(encoding="utf-8")
    return str(JAZZY.gendefhash(name, {}, ros_version=2)[0])


if __name__ == "__main__":
    for message_type in TYPES:
        path = TARGET / f"{message_type.rpartition('/')[2]}.msg"
        path.write_text(definition(message_type), encoding="utf-8")
