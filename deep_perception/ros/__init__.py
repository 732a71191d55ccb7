"""The ROS node. Only modules of this folder import ROS."""

from __future__ import annotations

from deep_perception.redaction.output import print_line


def main() -> int:
    """Run the ``analyzer`` executable; the exit code is 2 if ROS or the interfaces are missing."""
    try:
        import rclpy  # noqa: F401
    except ImportError as error:
        return _fail(f"ROS 2 is not available in this shell ({error})")
    try:
        import vision_msgs.msg  # noqa: F401

        # By name: the source folder deep_perception_msgs/ alone imports as an empty package.
        from deep_perception_msgs.msg import DescribedRegion  # noqa: F401
    except ImportError as error:
        return _fail(f"the interface packages are not built or not sourced ({error})")
    from deep_perception.ros.node import run

    return run()


def _fail(reason: str) -> int:
    print_line(
        f"analyzer: {reason}. Source ROS 2 and the workspace (`source install/setup.bash`), or run "
        "`tools/with_ros python -m deep_perception.ros` in a checkout. Without ROS, "
        "`deep_perception analyze IMAGE` works.",
        is_error=True,
    )
    return 2
