"""The ROS face: convert, call the core, publish. Nothing outside of this folder imports ROS."""

from __future__ import annotations

import sys


def main() -> int:
    """The ``analyzer`` executable. Exit code 2 when ROS or the interfaces are missing."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        return _missing(f"ROS 2 is not available in this shell ({error})")
    try:
        import vision_msgs.msg  # noqa: F401

        # By name: the source folder deep_perception_msgs/ alone imports as an empty package.
        from deep_perception_msgs.msg import DescribedRegion  # noqa: F401
    except ImportError as error:
        return _missing(f"the interface packages are not built or not sourced ({error})")
    from deep_perception.ros.node import run

    return run()


def _missing(what: str) -> int:
    sys.stderr.write(
        f"analyzer: {what}. Source ROS 2 and the workspace (`source install/setup.bash`), or run "
        "`tools/with_ros python -m deep_perception.ros` in a checkout. Without ROS, "
        "`deep_perception analyze IMAGE` works.\n"
    )
    return 2
