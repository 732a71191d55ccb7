"""The set-up behind `tools/bootstrap.py`: a private ROS 2 environment from pinned wheels."""
