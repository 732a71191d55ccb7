"""Start the analyzer node. `ros2 launch deep_perception analyzer.launch.py --show-args`"""

import os
from pathlib import Path

from ament_index_python.packages import get_package_share_path
from launch import LaunchContext, LaunchDescription
from launch.actions import DeclareLaunchArgument, OpaqueFunction, SetEnvironmentVariable
from launch.conditions import IfCondition
from launch.substitutions import LaunchConfiguration
from launch_ros.actions import Node
from launch_ros.parameter_descriptions import ParameterValue

SHARE = get_package_share_path("deep_perception")
# Jazzy reads the first, Kilted and later the second.
FASTDDS_VARIABLES = ("FASTRTPS_DEFAULT_PROFILES_FILE", "FASTDDS_DEFAULT_PROFILES_FILE")


def _check_params_file(context: LaunchContext) -> None:
    """Stop the launch if the file is missing; launch_ros would start the node with defaults."""
    path = LaunchConfiguration("params_file").perform(context)
    if not Path(path).is_file():
        raise RuntimeError(f"params_file: there is no file {path}")


def generate_launch_description() -> LaunchDescription:
    """Declare the arguments and start the node."""
    profile = str(SHARE / "config" / "fastdds_shm.xml")
    return LaunchDescription(
        [
            DeclareLaunchArgument(
                "image",
                default_value="camera/image_raw",
                description="camera topic (sensor_msgs/Image or CompressedImage), relative to the "
                "namespace unless it begins with /; for an image_transport camera the base topic",
            ),
            DeclareLaunchArgument(
                "namespace", default_value="", description="namespace of the node"
            ),
            DeclareLaunchArgument("name", default_value="analyzer", description="name of the node"),
            DeclareLaunchArgument(
                "params_file",
                default_value=str(SHARE / "config" / "analyzer.yaml"),
                description="ROS parameter file; the default file explains every parameter",
            ),
            DeclareLaunchArgument(
                "log_level",
                default_value="info",
                choices=["debug", "info", "warn", "error", "fatal"],
                description="lowest severity that is logged",
            ),
            DeclareLaunchArgument(
                "use_sim_time",
                default_value="false",
                choices=["true", "false"],
                description="use the time of /clock",
            ),
            DeclareLaunchArgument(
                "shared_memory",
                default_value="false",
                choices=["true", "false"],
                description="use config/fastdds_shm.xml, so that Fast DDS loses no large raw "
                "images; the camera driver needs the same profile",
            ),
            *(
                SetEnvironmentVariable(
                    variable,
                    os.environ.get(variable, profile),
                    condition=IfCondition(LaunchConfiguration("shared_memory")),
                )
                for variable in FASTDDS_VARIABLES
            ),
            OpaqueFunction(function=_check_params_file),
            Node(
                package="deep_perception",
                executable="analyzer",
                name=LaunchConfiguration("name"),
                namespace=LaunchConfiguration("namespace"),
                parameters=[
                    LaunchConfiguration("params_file"),
                    {
                        "use_sim_time": ParameterValue(
                            LaunchConfiguration("use_sim_time"), value_type=bool
                        )
                    },
                ],
                remappings=[("image", LaunchConfiguration("image"))],
                arguments=["--ros-args", "--log-level", LaunchConfiguration("log_level")],
                output="screen",
            ),
        ]
    )
