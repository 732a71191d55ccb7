#!/usr/bin/env python3
"""Make the private ROS 2 environment if it is not there, and print the file to source.

tools/bootstrap.py                      ROS 2 (from wheels, or the sourced one) and the interfaces
tools/bootstrap.py requirements/x.txt   only these requirements, in .venv-x, without ROS
DEEP_PERCEPTION_WITH=sam2,ray           with requirements/sam2.txt and ray.txt too, in another one
"""

# This file must run in an old Python too, to say that it is one.

import os
import shutil
import sys

OLDEST, NEWEST = (3, 10), (3, 13)


def wrong_python() -> str:
    """Return what to tell the user, or nothing when this Python will do."""
    version = sys.version_info[:2]
    sourced = os.environ.get("ROS_DISTRO") and os.environ.get("AMENT_PREFIX_PATH")
    if version >= OLDEST and (sourced or version <= NEWEST):
        return ""
    good = [f"python3.{minor}" for minor in range(NEWEST[1], OLDEST[1] - 1, -1)]
    found = [name for name in good if shutil.which(name)] or ["python3.12"]
    return (
        f"Python 3.10 to 3.13 is needed, {sys.executable} is {version[0]}.{version[1]}.\n"
        f"Name another one: PYTHON={found[0]} make demo"
    )


def main() -> int:
    """Set up, and return the exit status."""
    wrong = wrong_python()
    if wrong:
        sys.stderr.write(f"error: {wrong}\n")
        return 1
    sys.dont_write_bytecode = True
    from rosenv.main import set_up

    return set_up(sys.argv[1] if len(sys.argv) > 1 else None)


if __name__ == "__main__":
    sys.exit(main())
