"""A user's workspace: the documented command builds both packages, and nothing else."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.ros, pytest.mark.colcon]

ROOT = Path(__file__).parents[2]
# The command of the README, started in a workspace with the checkout at src/deep_perception.
BASE_PATHS = ["--base-paths", "src/deep_perception", "src/deep_perception/deep_perception_msgs"]
BUILD = ["colcon", "build", *BASE_PATHS]
# Only to be quick. Without C++ code: tools/ros/toolchain.cmake of the environment sees to that.
QUICK = [
    "--event-handlers", "console_direct+", "--cmake-args", "-G", "Ninja", "-DBUILD_TESTING=OFF",
    f"-DPython3_EXECUTABLE={sys.executable}",
]  # fmt: skip
CHECK = """
import sys
import deep_perception, deep_perception_msgs.msg
from ament_index_python import get_package_prefix
for name in ("deep_perception", "deep_perception_msgs"):
    assert get_package_prefix(name) == f"{sys.argv[1]}/{name}", get_package_prefix(name)
for module in (deep_perception, deep_perception_msgs.msg):
    assert module.__file__.startswith(sys.argv[1]), module.__file__
"""


@pytest.fixture(scope="module")
def workspace(tmp_path_factory):
    """A workspace with what git has of the checkout, as it stands in the working tree."""
    folder = tmp_path_factory.mktemp("ws").resolve()
    listing = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, capture_output=True, check=True, text=True).stdout
    for name in filter(None, names.split("\0")):
        if (ROOT / name).is_file():
            target = folder / "src" / "deep_perception" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, target)
    return folder


def colcon(workspace, *arguments):
    """Run in the environment of this process, whose built interfaces are the underlay.

    The checkout itself leaves the path, or `import deep_perception` would find it there.
    """
    paths = os.environ.get("PYTHONPATH", "").split(":")
    env = {**os.environ, "PYTHONPATH": ":".join(path for path in paths if path != str(ROOT))}
    done = subprocess.run(
        arguments, cwd=workspace, env=env, text=True, stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT, timeout=600,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout[-4000:]
    return done.stdout


@pytest.fixture(scope="module")
def built(workspace):
    colcon(workspace, *BUILD, *QUICK)
    return workspace / "install"


def test_colcon_finds_exactly_two_packages(workspace):
    found = colcon(workspace, "colcon", "list", "--names-only", *BASE_PATHS).split()
    assert sorted(found) == ["deep_perception", "deep_perception_msgs"]


def test_a_crawl_of_the_workspace_finds_no_copy_of_vision_msgs(workspace):
    assert "vision_msgs" not in colcon(workspace, "colcon", "list", "--names-only").split()


def test_both_packages_are_found_and_imported(built, workspace):
    script = '. install/setup.bash && exec "$0" -c "$1" "$PWD/install"'
    colcon(workspace, "bash", "-c", script, sys.executable, CHECK)


@pytest.mark.parametrize("name", ["analyzer", "deep_perception"])
def test_ros2_run_finds_the_executable(built, name):
    path = built / "deep_perception" / "lib" / "deep_perception" / name
    assert os.access(path, os.X_OK)


@pytest.mark.parametrize(
    "name", ["package.xml", "launch/analyzer.launch.py", "config/analyzer.yaml",
             "config/fastdds_shm.xml", "config/foxglove.json"],
)  # fmt: skip
def test_shared_files_are_installed(built, name):
    assert (built / "deep_perception" / "share" / "deep_perception" / name).is_file()
