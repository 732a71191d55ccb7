"""Frames of recordings: rosbag2 and ROS 1 bags."""
